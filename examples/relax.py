"""Relax a distorted ethanol with the model that ships. Notebook 34 says what its forces are worth."""
from ase.build import molecule
from ase.optimize import BFGS
from spherical_cnn.molecules.calculator import SphericalCNNCalculator

atoms = molecule('CH3CH2OH', calculator=SphericalCNNCalculator('U0'))
atoms.rattle(.05, seed=1)
print(f'distorted: {atoms.get_potential_energy():.3f} eV')
BFGS(atoms, maxstep=.03).run(fmax=.05, steps=10)
atoms.write('relaxed.xyz')
