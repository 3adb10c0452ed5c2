"""Forward operators and noise models: y = A x + n."""

from treg_exp.operators.base import Operator
from treg_exp.operators.bicubic import BicubicDownsampling
from treg_exp.operators.methods import CG, Exact, ProxMethod
from treg_exp.operators.noise_models import GaussianNoise
from treg_exp.operators.separable import SeparableOperator
from treg_exp.operators.task import Task

__all__ = [
    "CG",
    "BicubicDownsampling",
    "Exact",
    "GaussianNoise",
    "Operator",
    "ProxMethod",
    "SeparableOperator",
    "Task",
]
