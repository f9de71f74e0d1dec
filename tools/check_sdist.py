"""Check that a wheel built from the source distribution holds the same files as one built from the working tree, and
that it names what it needs."""
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

root = Path(__file__).resolve().parent.parent


def run(
    command, # list of words, after the name of Python
    folder, # where it runs
): # None; exits when it fails
    "Run Python; what it prints is shown only when it fails."
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode: sys.exit(f'check_sdist: {" ".join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}')


def wheel(
    source, # folder with setup.py
    out, # folder for the wheel
): # zipfile.ZipFile
    "Build a wheel with the setuptools that are installed."
    out.mkdir()
    own = ['egg_info', '--egg-base', out, 'build', '--build-base', out/'build'] # nothing is written beside the source
    run(['setup.py', '--quiet', *own, 'bdist_wheel', '--dist-dir', out], source)
    return zipfile.ZipFile(next(out.glob('*.whl')))


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run(['setup.py', '--quiet', 'egg_info', '--egg-base', folder, 'sdist', '--dist-dir', folder], root)
        with tarfile.open(next(folder.glob('*.tar.gz'))) as archive: archive.extractall(folder/'unpacked', filter='data')
        of_tree = wheel(root, folder/'tree')
        of_sdist = wheel(next((folder/'unpacked').iterdir()), folder/'sdist')
        files, expected = set(of_sdist.namelist()), set(of_tree.namelist())
        metadata = of_sdist.read(next(f for f in files if f.endswith('METADATA'))).decode()
    wrong = [f'only in the wheel of the working tree: {f}' for f in sorted(expected - files)]
    wrong += [f'only in the wheel of the source distribution: {f}' for f in sorted(files - expected)]
    if not any('/pretrained/' in f for f in files): wrong.append('the wheel holds no pretrained weights')
    if 'Requires-Dist: jax' not in metadata: wrong.append('the wheel does not say that it needs jax')
    print('\n'.join(wrong) or f'a wheel built from the source distribution holds all {len(files)} files')
    return bool(wrong)


if __name__ == '__main__': sys.exit(main())
