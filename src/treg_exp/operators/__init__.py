"""Forward operators and noise models: y = A x + n."""

from treg_exp.operators.base import Operator
from treg_exp.operators.bicubic import BicubicDownsampling
from treg_exp.operators.blur import GaussianBlur
from treg_exp.operators.deepinv_adapter import DeepinvOperator, deepinv_task
from treg_exp.operators.masking import BoxInpainting, Identity, Masking, RandomInpainting
from treg_exp.operators.methods import CG, Exact, ProxMethod
from treg_exp.operators.noise_models import GaussianNoise
from treg_exp.operators.separable import SeparableOperator
from treg_exp.operators.task import Task

__all__ = [
    "CG",
    "BicubicDownsampling",
    "BoxInpainting",
    "DeepinvOperator",
    "Exact",
    "GaussianBlur",
    "GaussianNoise",
    "Identity",
    "Masking",
    "Operator",
    "ProxMethod",
    "RandomInpainting",
    "SeparableOperator",
    "Task",
    "deepinv_task",
]
