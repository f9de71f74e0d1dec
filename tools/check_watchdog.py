"""Check that tools/test.py can fail: of notebooks that hang, fail, die, and pass, it stops the first, names the first
three, says in which cell each stood, ends what they have started, and lets the others go on. Takes a few seconds."""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

root = Path(__file__).resolve().parent.parent
notebooks = { # name: source of its second code cell
    'a_hangs': "import subprocess, time\nchild = subprocess.Popen(['sleep', '600'])\n"
               "open('child', 'w').write(str(child.pid))\ntime.sleep(600)",
    'b_fails': "assert 1 + 1 == 3, 'so it fails'",
    'c_dies': 'import os\nos.abort()',
    'd_skips': "#| slow\nraise ValueError('a slow cell ran')",
    'e_leaves': "#| eval: false\nraise ValueError('a cell that is not to be run ran')",
}


def write(
    path, # of the notebook
    sources, # of its code cells
): # None
    "A notebook."
    cells = [dict(cell_type='code', id=f'cell-{k}', metadata={}, source=s, outputs=[], execution_count=None)
             for k, s in enumerate(sources)]
    path.write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)))


def is_alive(
    pid, # of a process
): # bool
    "Whether it runs still; one that nobody has waited for yet does not count."
    try: return '(sleep) Z' not in Path(f'/proc/{pid}/stat').read_text()
    except FileNotFoundError: pass
    try: os.kill(pid, 0)
    except ProcessLookupError: return False
    return not Path('/proc/self').exists()


def faults(): # list of lines, one a fault
    "What tools/test.py does with the notebooks above, against what it should do."
    with tempfile.TemporaryDirectory() as folder:
        for name, source in notebooks.items(): write(Path(folder)/f'{name}.ipynb', ['started = True', source])
        test = [sys.executable, root/'tools/test.py', '--only', 'notebooks', '--stall', '3', '--path']
        environment = os.environ | {'JAX_ENABLE_COMPILATION_CACHE': '0'}
        options = dict(capture_output=True, text=True, env=environment, timeout=300)
        done = subprocess.run([*test, f'{folder}/*.ipynb'], **options)
        nothing = subprocess.run([*test, f'{folder}/none*.ipynb'], **options)
        child = int((Path(folder)/'child').read_text())
    expected = {
        'a_hangs.ipynb: stopped: no cell ended for 3 s at cell #2: import': 'it does not name the notebook that hangs',
        'line 4 in <module>': 'it does not show the line on which a notebook hangs',
        'AssertionError: so it fails': 'it does not show the traceback of the cell that fails',
        'c_dies.ipynb: killed by SIGABRT at cell #2: import os': 'it does not name the notebook that dies',
        'FAILED: 3 of 5 notebooks: a_hangs.ipynb, b_fails.ipynb, c_dies.ipynb': 'it does not count what failed',
    }
    wrong = [fault for words, fault in expected.items() if words not in done.stdout + done.stderr]
    wrong += [f'it does not go on with {n}' for n in ('d_skips', 'e_leaves') if f'- Completed {folder}/{n}.ipynb' not in done.stdout]
    if done.returncode != 1: wrong.append(f'it exits {done.returncode}, not 1, when notebooks fail')
    if nothing.returncode != 1 or 'nothing was tested' not in nothing.stderr: wrong.append('it passes without a notebook')
    if is_alive(child): wrong.append('what a stopped notebook has started goes on running')
    return wrong and wrong + ['', done.stdout, done.stderr]


if __name__ == '__main__':
    found = faults()
    print('\n'.join(found) if found else 'a notebook that hangs, fails or dies is named, and the others go on')
    sys.exit(bool(found))
