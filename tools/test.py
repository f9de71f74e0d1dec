"""Run every notebook as nbdev_test does, then import each module in a fresh process and lint it. Exits 1 on a failure.

Each notebook runs in a process of its own, two at a time, the longest first. There is no limit for all of them
together: a notebook whose cell does not end within ten minutes is stopped and named, with the line where it stood, and
the others go on."""
import argparse
import faulthandler
import glob
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path

root = Path(__file__).resolve().parent.parent
cache = root/'.cache'
timings = cache/'test_seconds.json'
preloaded = ['nbdev.test', 'matplotlib.pyplot', 'matplotlib_inline.backend_inline', 'jax', 'flax.nnx', 'optax']


# ---- in the process of a notebook

def run_notebook(
    path, # notebook
    flags, # words of tst_flags whose cells run as well
    report, # Connection: gets ('cell', number, first line) as each cell begins, ('end', passed, seconds) at the end
): # None; exits 1 when a cell failed
    "nbdev's own test of one notebook, with a word to the parent at each cell."
    os.setsid() # what the notebook starts can be stopped with it
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0) # a notebook that asks a question gets no answer
    sys.stdout.reconfigure(line_buffering=True)
    faulthandler.register(signal.SIGUSR1, file=sys.__stderr__, all_threads=False)
    import nbdev.test
    from nbdev.config import get_config

    class ReportingShell(nbdev.test.CaptureShell):
        "Says which cell begins, and so that the one before it has ended."
        def cell(self, cell, **options):
            lines = [line for line in cell.source.splitlines() if line.strip() and not line.startswith('#|')]
            if cell.cell_type == 'code': report.send(('cell', cell.idx_ + 1, lines[0] if lines else ''))
            super().cell(cell, **options)

    nbdev.test.CaptureShell = ReportingShell
    cfg = get_config()
    os.chdir(cfg.nbs_path)
    passed, seconds = nbdev.test.test_nb(path, skip_flags=cfg.tst_flags.split(), force_flags=flags.split(),
                                         do_print=True, basepath=cfg.config_path)
    report.send(('end', passed, seconds))
    if not passed: sys.exit(1)


# ---- in the parent

@dataclass
class Run:
    "One notebook that runs, or ran."
    path: Path
    process: multiprocessing.Process = None
    report: Connection = None
    began: float = field(default_factory=time.monotonic)
    moved: float = field(default_factory=time.monotonic) # when it last ended a cell
    at: str = 'its start' # the cell that runs
    seconds: float = 0.
    passed: bool = None
    wrong: str = '' # what happened to it, where no traceback says so

    def listen(self):
        "Take what its process has said so far."
        try:
            while self.report.poll():
                kind, *said = self.report.recv()
                self.moved = time.monotonic()
                if kind == 'cell': self.at = f'cell #{said[0]}: {said[1][:100]}'
                if kind == 'end': self.passed, self.at = said[0], 'its end, all cells done'
        except (EOFError, OSError): pass # it has ended: its exit status says how

    def stop(self):
        "End it and all that it started; first it says on which line it stands."
        try:
            os.kill(self.process.pid, signal.SIGUSR1)
            self.process.join(2)
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError: self.process.kill()
        self.process.join()


def start(
    context, # of multiprocessing
    path, # notebook
    flags, # words of tst_flags
): # Run
    "Start one notebook."
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=run_notebook, args=(path, flags, theirs), name=path.stem)
    process.start()
    theirs.close()
    return Run(path, process, ours)


def is_over(
    run, # Run, changed in place
    stall, # seconds without a finished cell after which it is stopped
): # whether it has ended, by itself or by force
    "Look after one notebook."
    alive = run.process.is_alive() # before listening, so that nothing it said is lost
    run.listen()
    if alive and time.monotonic() - run.moved > stall:
        run.stop()
        run.passed, run.wrong = False, f'stopped: no cell ended for {stall:g} s at {run.at}'
    elif alive: return False
    run.process.join()
    status = run.process.exitcode
    if run.passed is None or run.passed and status: # neither nbdev nor we have said what happened
        how = f'killed by {signal.Signals(-status).name}' if status < 0 else f'its process ended with exit status {status}'
        run.passed, run.wrong = False, f'{how} at {run.at}'
    run.passed = bool(run.passed)
    run.seconds = time.monotonic() - run.began
    if run.wrong: print(f'{run.path.name}: {run.wrong}', file=sys.stderr, flush=True)
    return True


def run_all(
    paths, # notebooks in the order in which they are to start
    flags, # words of tst_flags
    stall, # seconds without a finished cell
    workers, # how many run at the same time
): # list of Run, all over
    "Run notebooks, each in a process forked from one that has imported the large libraries, and nothing of this package."
    context = multiprocessing.get_context('forkserver' if sys.platform == 'linux' else 'spawn')
    if sys.platform == 'linux': context.set_forkserver_preload(preloaded)
    waiting, running, over = list(paths), [], []
    try:
        while waiting or running:
            while waiting and len(running) < workers: running.append(start(context, waiting.pop(0), flags))
            wait([r.process.sentinel for r in running], timeout=min(1, stall/4))
            ended = [r for r in running if is_over(r, stall)]
            running = [r for r in running if r not in ended]
            over += ended
    finally: # interrupted: nothing is left running
        for run in running: run.stop()
    return over


def find(
    path, # notebook, glob or folder, relative to the repository, or None for all
): # list of paths
    "The notebooks that nbdev_test would run."
    from nbdev.doclinks import nbglob
    if path is None: found = nbglob(as_path=True)
    else:
        named = [root/name for name in glob.glob(path, root_dir=root)]
        found = [p for n in named for p in (n.glob('*.ipynb') if n.is_dir() else [n])]
    found = sorted({p.absolute() for p in found if p.suffix == '.ipynb' and p.name[0] not in '_.'})
    return [p for p in found if not (p.parent/'.notest').exists()]


def longest_first(
    paths, # notebooks
): # the same, sorted
    "By the time each took when it last passed here; those that never did come first, the most code before the others."
    try: known = json.loads(timings.read_text())
    except (OSError, ValueError): known = {}
    def code(path): return sum(len(''.join(c['source'])) for c in json.loads(path.read_text())['cells'] if c['cell_type'] == 'code')
    return sorted(paths, key=lambda p: (-known[p.name], 0) if p.name in known else (-float('inf'), -code(p)))


def remember(
    runs, # list of Run
): # None
    "Keep the times of notebooks that passed, for the order of the next run."
    try:
        known = json.loads(timings.read_text()) if timings.exists() else {}
        known |= {r.path.name: round(r.seconds, 1) for r in runs if r.passed and r.path.parent == root/'nbs'}
        timings.parent.mkdir(parents=True, exist_ok=True)
        timings.write_text(json.dumps(known, indent=1, sort_keys=True))
    except (OSError, ValueError): pass # it only makes the next run slower


def keep_compiled(): # None
    "Let the notebooks, and what they start, keep compiled programs in the folder that the package chooses."
    ask = 'from spherical_cnn.harmonics.arrays import compilation_cache; print(compilation_cache() or "")'
    done = subprocess.run([sys.executable, '-c', ask], cwd=root, capture_output=True, text=True)
    folder = done.stdout.strip()
    if done.returncode: print(f'note: no compilation cache: {done.stderr.strip().splitlines()[-1]}')
    if folder: os.environ |= dict(JAX_COMPILATION_CACHE_DIR=folder, JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0')


def test_notebooks(
    args, # of the command line
): # None or what went wrong
    "nbdev_test, which alone would pass when it finds no notebook, and would wait for ever for one that hangs."
    paths = find(args.path)
    if not paths: return f"no notebooks match {args.path or 'nbs/*.ipynb'}, so nothing was tested"
    keep_compiled()
    runs = run_all(longest_first(paths), args.flags, args.stall, args.workers)
    remember(runs)
    for run in sorted(runs, key=lambda r: -r.seconds): print(f'{run.path.name}: {run.seconds:.0f} secs' + ('' if run.passed else ', FAILED'))
    failed = sorted((r for r in runs if not r.passed), key=lambda r: r.path.name)
    if not failed: return print('Success.')
    names = ''.join(f"\n\t{r.path.name}{': ' if r.wrong else ''}{r.wrong}" for r in failed)
    print(f"\nnbdev Tests Failed On The Following Notebooks:\n{'='*50}{names}", file=sys.stderr)
    return f'{len(failed)} of {len(runs)} notebooks: ' + ', '.join(r.path.name for r in failed)


def import_alone(
    module, # 'spherical_cnn.harmonics.grid'
): # (module, error text or None)
    "Import one module in a fresh process: what a notebook's globals hide shows here."
    done = subprocess.run([sys.executable, '-c', f'import {module}'], cwd=root, capture_output=True, text=True, timeout=600)
    return module, done.stderr.strip() if done.returncode else None


def test_modules(): # None or what went wrong
    "Import every exported module alone, and lint for undefined names."
    files = sorted((root/'spherical_cnn').rglob('*.py'))
    modules = ['.'.join(f.relative_to(root).with_suffix('').parts) for f in files if not f.name.startswith('_')]
    with ThreadPoolExecutor(2) as pool: failed = [(m, e) for m, e in pool.map(import_alone, modules) if e]
    for module, error in failed: print(f'import {module}:\n{error}\n', file=sys.stderr)
    print(f'{len(modules) - len(failed)} of {len(modules)} modules import in a fresh process')
    rules = ['--select', 'E9,F63,F7,F82'] # syntax, undefined names
    ruff = [Path(sys.executable).parent/'ruff', 'check', '--isolated', '--no-cache', '--quiet', *rules]
    lint = subprocess.run([*ruff, '--output-format', 'concise', 'spherical_cnn', 'tools', 'setup.py'], cwd=root).returncode
    if failed: return f'{len(failed)} modules do not import alone: ' + ', '.join(m for m, _ in failed)
    if lint: return 'ruff found faults, listed above'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--path', help="a notebook or glob, such as 'nbs/02_grid.ipynb'; all by default")
    parser.add_argument('--flags', default='', help="cells to run as well: 'slow', 'gpu', 'data' or several")
    parser.add_argument('--stall', type=float, default=600, help='seconds after which a notebook that ends no cell is stopped (600)')
    parser.add_argument('--workers', type=int, default=2, help='notebooks that run at the same time (2)')
    parser.add_argument('--only', choices=['notebooks', 'modules'], help='do one half')
    args = parser.parse_args()
    os.environ.setdefault('SPHERICAL_CNN_CACHE', str(cache)) # beside .venv, nothing in the home folder
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)) # as for an interrupt, no notebook is left running
    began, parts = time.monotonic(), []
    if args.only != 'modules': parts.append(test_notebooks(args))
    if args.only != 'notebooks': parts.append(test_modules())
    wrong = [w for w in parts if w]
    for w in wrong: print(f'FAILED: {w}', file=sys.stderr)
    print(f"{'failed' if wrong else 'all passed'} in {time.monotonic() - began:.0f} s")
    return bool(wrong)


if __name__ == '__main__': sys.exit(main())
