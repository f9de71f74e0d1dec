"""Relax a distorted ethanol with the model that ships, and watch its O-H bond. Notebook 34 says what the forces are worth."""
from ase.build import molecule
from ase.optimize import BFGS
from spherical_cnn.molecules.calculator import SphericalCNNCalculator

atoms = molecule('CH3CH2OH', calculator=SphericalCNNCalculator('U0'))
atoms.rattle(.05, seed=1)
relaxing = BFGS(atoms, maxstep=.03)
relaxing.attach(lambda: print(f'O-H {atoms.get_distance(2, 3):.3f} angstrom'))
relaxing.run(fmax=.05, steps=30)
atoms.write('relaxed.xyz')
