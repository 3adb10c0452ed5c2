"""Solvers: one algorithm per file, readable like the paper."""

from treg_exp.solvers.base import OnStep, Solver
from treg_exp.solvers.linear import Adjoint, PseudoInverse
from treg_exp.solvers.treg import DataSteps, TReg
from treg_exp.solvers.unconditional import Unconditional

__all__ = ["Adjoint", "DataSteps", "OnStep", "PseudoInverse", "Solver", "TReg", "Unconditional"]
