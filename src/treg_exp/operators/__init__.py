"""Forward operators and noise models: y = A(x) + n."""

from treg_exp.operators.anisotropic import AnisotropicGaussianBlur
from treg_exp.operators.average import AveragePooling
from treg_exp.operators.base import Operator
from treg_exp.operators.bicubic import BicubicDownsampling
from treg_exp.operators.blur import GaussianBlur
from treg_exp.operators.colour import BayerMosaic, Greyscale
from treg_exp.operators.composition import Composition, NonlinearComposition
from treg_exp.operators.compressed import CompressedSensing
from treg_exp.operators.deepinv_adapter import DeepinvOperator, deepinv_task
from treg_exp.operators.in_range import prox_in_range
from treg_exp.operators.intensity import GammaCorrection, HighDynamicRange
from treg_exp.operators.jpeg import JPEG
from treg_exp.operators.kernel_blur import KernelBlur
from treg_exp.operators.masking import BoxInpainting, Identity, Masking, Outpainting, RandomInpainting
from treg_exp.operators.methods import CG, Descent, Exact, ProxMethod
from treg_exp.operators.motion import MotionBlur
from treg_exp.operators.mri import FourierLines
from treg_exp.operators.noise_models import (
    GaussianNoise,
    NoiseModel,
    PoissonGaussianNoise,
    PoissonNoise,
    SaltAndPepperNoise,
)
from treg_exp.operators.nonlinear import NonlinearOperator, NonlinearOperatorError
from treg_exp.operators.phase import PhaseRetrieval
from treg_exp.operators.radon import SparseViewCT
from treg_exp.operators.random_masks import RandomBoxInpainting, StrokeInpainting
from treg_exp.operators.separable import SeparableOperator
from treg_exp.operators.task import Task
from treg_exp.operators.tight import TightOperator

__all__ = [
    "CG",
    "JPEG",
    "AnisotropicGaussianBlur",
    "AveragePooling",
    "BayerMosaic",
    "BicubicDownsampling",
    "BoxInpainting",
    "Composition",
    "CompressedSensing",
    "DeepinvOperator",
    "Descent",
    "Exact",
    "FourierLines",
    "GammaCorrection",
    "GaussianBlur",
    "GaussianNoise",
    "Greyscale",
    "HighDynamicRange",
    "Identity",
    "KernelBlur",
    "Masking",
    "MotionBlur",
    "NoiseModel",
    "NonlinearComposition",
    "NonlinearOperator",
    "NonlinearOperatorError",
    "Operator",
    "Outpainting",
    "PhaseRetrieval",
    "PoissonGaussianNoise",
    "PoissonNoise",
    "ProxMethod",
    "RandomBoxInpainting",
    "RandomInpainting",
    "SaltAndPepperNoise",
    "SeparableOperator",
    "SparseViewCT",
    "StrokeInpainting",
    "Task",
    "TightOperator",
    "deepinv_task",
    "prox_in_range",
]
