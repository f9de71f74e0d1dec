"Run every notebook with nbdev_test, then import each module in a fresh process and lint it. Exits 1 when anything fails."
import argparse
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

root = Path(__file__).resolve().parent.parent
bin_ = Path(sys.executable).parent


def run(
    command, # list of words
    seconds, # it is stopped, with all its children, after this long
): # exit status; 124 when it was stopped
    "Run a command in a process group of its own, so that a hung notebook cannot outlive it."
    with subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try: return process.wait(seconds)
        except BaseException as e:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(e, subprocess.TimeoutExpired): return 124
            raise


def test_notebooks(
    path, # notebook or glob, relative to the repository, or None for all
    flags, # words of tst_flags to run as well, such as 'slow'
    minutes, # limit for all of them
): # None or what went wrong
    "nbdev_test, which alone would pass when it finds no notebook, and would wait for ever for one that hangs."
    found = sorted(root.glob(path)) if path else [p for p in sorted((root/'nbs').glob('*.ipynb')) if p.name[0].isdigit()]
    if not found: return f"no notebooks match {path or 'nbs/[0-9]*.ipynb'}, so nothing was tested"
    command = [bin_/'nbdev_test', '--n_workers', '2', '--do_print', '--timing', '--flags', flags] + (['--path', path] if path else [])
    status = run(command, 60*minutes)
    if status == 124: return f'the notebooks took more than {minutes} minutes and were stopped; those started and not completed are named above'
    if status: return f'nbdev_test failed with exit status {status}'


def import_alone(
    module, # 'spherical_cnn.harmonics.grid'
): # (module, error text or None)
    "Import one module in a fresh process: what a notebook's globals hide shows here."
    done = subprocess.run([sys.executable, '-c', f'import {module}'], cwd=root, capture_output=True, text=True, timeout=120)
    return module, done.stderr.strip() if done.returncode else None


def test_modules(): # None or what went wrong
    "Import every exported module alone, and lint for undefined names."
    files = sorted((root/'spherical_cnn').rglob('*.py'))
    modules = ['.'.join(f.relative_to(root).with_suffix('').parts) for f in files if not f.name.startswith('_')]
    with ThreadPoolExecutor(2) as pool: failed = [(m, e) for m, e in pool.map(import_alone, modules) if e]
    for module, error in failed: print(f'import {module}:\n{error}\n', file=sys.stderr)
    print(f'{len(modules) - len(failed)} of {len(modules)} modules import in a fresh process')
    lint = subprocess.run([bin_/'ruff', 'check', '--isolated', '--no-cache', '--quiet', '--select', 'E9,F63,F7,F82', '--output-format', 'concise',
                           'spherical_cnn', 'tools', 'setup.py'], cwd=root).returncode # syntax, undefined names
    if failed: return f'{len(failed)} modules do not import alone: ' + ', '.join(m for m, _ in failed)
    if lint: return 'ruff found faults, listed above'


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--path', help="a notebook or glob, such as 'nbs/02_grid.ipynb'; all by default")
    parser.add_argument('--flags', default='', help="cells to run as well: 'slow', 'gpu', 'data' or several")
    parser.add_argument('--minutes', type=float, default=13, help='limit for the notebooks')
    args = parser.parse_args()
    start = time.time()
    wrong = [w for w in (test_notebooks(args.path, args.flags, args.minutes), test_modules()) if w]
    for w in wrong: print(f'FAILED: {w}', file=sys.stderr)
    print(f"{'failed' if wrong else 'all passed'} in {time.time() - start:.0f} s")
    return bool(wrong)


if __name__ == '__main__': sys.exit(main())
