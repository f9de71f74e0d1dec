"""Kill trainings at random moments, writes of checkpoints included, and compare their ends with those of runs that
nobody touched: the same parameters bit for bit, for a molecule model and for a model of maps trained in two stages."""
import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

MOLECULES = '''
import sys
from dataclasses import replace
from pathlib import Path
from spherical_cnn.harmonics.arrays import compilation_cache
from spherical_cnn.molecules.model import MoleculeModelConfig
from spherical_cnn.molecules.qm9 import load_qm9
from spherical_cnn.molecules.run import preset, train_run
from spherical_cnn.train.loop import TrainConfig
compilation_cache()
out = Path(sys.argv[1])
data = load_qm9()
model = MoleculeModelConfig(((8, 4), (8, 8)), grid='gauss', hidden=16)
train = TrainConfig(epochs=3, learning_rate=1e-3, weight_average=.9, save_every_steps=4)
config = replace(preset('demo'), model=model, train=train, train_molecules=500, validation_molecules=50, predict_oversampling=None)
print('begins', flush=True)
train_run(config, data, out, resume='resume' in sys.argv, progress=False)
'''

MAPS = '''
import sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np, optax
from flax import nnx
from spherical_cnn.harmonics.arrays import compilation_cache
from spherical_cnn.harmonics.grid import Grid
from spherical_cnn.nn.network import SphericalCNN, Stage
from spherical_cnn.train.loop import EpochBatches, Trainer, TrainStage
from spherical_cnn.train.weights import save_weights
compilation_cache()
grid, out = Grid.equiangular(8), Path(sys.argv[1])

def batches(steps): # maps, and what becomes of them after each of so many steps: they turn and fade
    def of_epoch(epoch):
        rng = np.random.default_rng([epoch, steps])
        for _ in range(12):
            maps = rng.normal(size=(4, 8, 8, 1, 1)).astype('float32')
            yield maps, np.stack([.9**k*np.roll(maps, k, 2) for k in range(1, steps + 1)])
    return EpochBatches(of_epoch, 12)

def rollout(model, batch): # error of the iterated forecast
    maps, wanted = batch
    error = 0.
    for truth in wanted:
        maps = maps + model(maps + 0j).real
        error += jnp.mean((maps - truth)**2)/len(wanted)
    return error, {}

model = SphericalCNN([Stage(grid, 4), Stage(grid, 1, spins=(0,))], 1, rngs=nnx.Rngs(0))
stages = [TrainStage(36, rollout, batches(1), optax.constant_schedule(3e-3), 12),
          TrainStage(24, rollout, batches(2), optax.constant_schedule(3e-4), 12)]
print('begins', flush=True)
Trainer(model, stages, out=out, weight_average=.9, save_every_steps=3, progress=False).run('resume' in sys.argv)
save_weights(out/'weights.safetensors', model)
'''

PROGRAMS = {'molecules': MOLECULES, 'maps': MAPS}


def start(program, *words):
    "A process with a program."
    return subprocess.Popen([sys.executable, '-c', program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def writing(out):
    "Whether a checkpoint is being written, or has just been."
    return any((out/'checkpoints').glob('*orbax-checkpoint-tmp*'))


def kill_at(process, out, rng):
    "Wait for a random moment, or for one at which a checkpoint is being written, and kill; whether it still ran."
    end, wait_for_write = time.monotonic() + rng.uniform(0, 12), rng.random() < .5
    while process.poll() is None and time.monotonic() < end and not (wait_for_write and writing(out)): time.sleep(.002)
    if wait_for_write: time.sleep(rng.uniform(0, .05))
    if process.poll() is not None: return False
    process.kill()
    return True


def killed_run(program, out, kills, rng):
    "Begin a run and kill it, until it was killed so many times or has ended; kills, and how many of them hit a checkpoint"
    done = hit = 0
    while True:
        words = ['resume'] if (out/'config.json').exists() or (out/'checkpoints').exists() else []
        process = start(program, str(out), *words)
        process.stdout.readline()
        if done < kills and kill_at(process, out, rng):
            done, hit = done + 1, hit + writing(out)
        error = process.communicate()[1]
        if process.returncode == 0: return done, hit
        if process.returncode != -signal.SIGKILL: raise SystemExit(f'the run failed by itself:\n{error[-3000:]}')


def same_end(out, whole):
    "Names of the files in which two runs differ"
    from safetensors.numpy import load_file
    a, b = (load_file(folder/'weights.safetensors') for folder in (out, whole))
    wrong = [] if a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a) else ['weights.safetensors']
    return wrong + ([] if (out/'metrics.csv').read_bytes() == (whole/'metrics.csv').read_bytes() else ['metrics.csv'])


def soak(name, kills, seed, folder):
    "One line for a program; whether all went well"
    rng, began, killed, hit, runs = np.random.default_rng(seed), time.monotonic(), 0, 0, 0
    whole = folder/f'{name}-whole'
    if start(PROGRAMS[name], str(whole)).wait(): raise SystemExit(f'{name}: the uninterrupted run fails')
    wrong = []
    while killed < kills:
        out = folder/f'{name}-{runs}'
        some, hits = killed_run(PROGRAMS[name], out, min(4, kills - killed), rng)
        killed, hit, runs = killed + some, hit + hits, runs + 1
        wrong += [f'{out.name}/{file}' for file in same_end(out, whole)]
    print(f'{name:10} {killed} kills in {runs} runs, {hit} of them within the writing of a checkpoint, '
          f'{time.monotonic() - began:.0f} s: {"differ: " + ", ".join(wrong) if wrong else "every end is the same to the bit"}', flush=True)
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('programs', nargs='*', help=f'which of {", ".join(PROGRAMS)}; all by default')
    parser.add_argument('--kills', type=int, default=15, help='of each program')
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    options = parser.parse_args()
    unknown = set(options.programs) - set(PROGRAMS)
    if unknown: parser.error(f'there is no program {", ".join(unknown)}; there are {", ".join(PROGRAMS)}')
    os.environ.setdefault('JAX_PLATFORMS', 'cpu')
    with tempfile.TemporaryDirectory() as folder:
        good = [soak(name, options.kills, options.seed, Path(folder)) for name in options.programs or PROGRAMS]
    sys.exit(0 if all(good) else 1)


if __name__ == '__main__': main()
