"""The denoiser as a rectified flow, fine-tuned from a trained diffusion model, for solvers that need a flow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treg_exp.errors import FieldError
from treg_exp.recipes.emoji64.captioned import CaptionedLatents
from treg_exp.recipes.emoji64.corpus import CorpusFolder
from treg_exp.recipes.emoji64.denoising import denoise, logit_normal, strata, suit_bf16_on_cpus
from treg_exp.recipes.emoji64.flow_start import FLOW_TIMES, DiffusionVelocity, begin_as_flow, fit_output
from treg_exp.recipes.emoji64.segments import prior_schedule
from treg_exp.recipes.emoji64.trained import TrainedStages
from treg_exp.schedule.levels import check_kind


class FlowObjective(CaptionedLatents):
    """Squared error of the velocity eps - z_0 at z = (1 - s) z_0 + s eps; the network is told 1000 s.

    It begins as the diffusion model of the stages, changed so that it can be told s (`begin_as_flow`, `fit_output`).
    In the first part of the budget it learns the velocity that the diffusion model implies, from then on eps - z_0
    itself. Both have the same optimum if the diffusion model is exact; the first is free of what no network can know,
    by which the second varies, and so needs far fewer steps.

    Args:
        corpus: where pictures and split are.
        stages: the trained autoencoder, text encoder and diffusion model.
        widths: of the denoiser.
        prompt_dropout: share of pictures that are trained with the empty prompt.
        shift: of the times towards high noise, as in Stable Diffusion 3 (Esser et al., arXiv 2403.03206; 3 there), > 0;
            also what the exported scheduler says.
        spread: of the logit-normal density of the times before the shift (1 there), > 0.
        teacher_until: share of the budget, 0 to 1, in which the velocity of the diffusion model is learnt.
        fitted_on: training pictures that the last convolution is fitted on before the first step; 0 leaves it.
        styled_share: see `CaptionedLatents`.
        versions: likewise.
        embed_beforehand: likewise.
        compile: likewise.

    Raises:
        FieldError: a value out of its range, or a denoiser of other widths.
    """

    trainable = ("flow",)

    def __init__(
        self,
        corpus: CorpusFolder,
        stages: TrainedStages,
        widths: Sequence[int] = (64, 128, 256),
        prompt_dropout: float = 0.1,
        shift: float = 3.0,
        spread: float = 1.5,
        teacher_until: float = 0.8,
        fitted_on: int = 512,
        styled_share: float | None = None,
        versions: int = 6,
        embed_beforehand: bool = False,
        compile: bool = False,
    ) -> None:
        for name, value in (("shift", shift), ("spread", spread)):
            if not value > 0.0:
                raise FieldError(name, value, "must be > 0")
        if not 0.0 <= teacher_until <= 1.0:
            raise FieldError("teacher_until", teacher_until, "must be >= 0 and <= 1")
        if fitted_on < 0:
            raise FieldError("fitted_on", fitted_on, "must be >= 0")
        super().__init__(
            corpus, stages, widths, prompt_dropout, "flow", styled_share, versions, embed_beforehand, compile
        )
        teacher = stages.denoiser().to(memory_format=torch.channels_last)
        try:
            self.network.load_state_dict(teacher.state_dict())
        except RuntimeError:
            raise FieldError("widths", list(widths), "must be those of the diffusion model to begin with") from None
        self.velocity = DiffusionVelocity(teacher, check_kind(stages.prediction()), prior_schedule())
        begin_as_flow(self.network, self.velocity)
        self._begun_with = self.network.conv_out.weight.detach().clone()
        # The median of a shifted density: shift / (1 + shift); its spread in logits stays.
        self.focus = shift / (1.0 + shift), spread
        self.teacher_until, self.fitted_on, self.taught = teacher_until, fitted_on, teacher_until > 0.0

    def prepare(self, number_format: str) -> None:
        """See `CaptionedLatents`; the teacher follows, and a network that was not trained yet gets its last fit."""
        super().prepare(number_format)
        teacher = self.velocity.network.to(self.device)
        if self.device.type == "cpu" and number_format == "bf16-mixed":
            suit_bf16_on_cpus(teacher)
        if self.fitted_on and torch.equal(self.network.conv_out.weight, self._begun_with.to(self.device)):
            self._fit_output()

    def advance(self, progress: float, average: nn.Module) -> None:
        """Learn from the data from `teacher_until` on."""
        self.taught = progress < self.teacher_until

    def loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Squared error of the velocity on one batch, mean over latents."""
        drawn = self.draw(batch, generator)
        s = logit_normal(strata(len(batch), generator), self.focus).to(self.device)
        z, velocity = self._between(drawn.latents, s, generator)
        if self.taught:
            with torch.no_grad():
                velocity = self.velocity(self._denoise, z, s, drawn.text)
        output, _ = self._denoise(self.network, z, s * FLOW_TIMES, drawn.text)
        return F.mse_loss(output.float(), velocity)

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """Squared errors of the averaged network on held-out pictures at even times, always with the same noise.

        ``val_loss``: to eps - z_0; ``val_loss_teacher``: of the diffusion model, the one to reach; ``val_distance``:
        between the two models.
        """
        drawn, generator = self.draw_held_out(128)
        s = strata(len(drawn.latents), generator).to(self.device)
        z, velocity = self._between(drawn.latents, s, generator)
        own, _ = denoise(self.network, z, s * FLOW_TIMES, drawn.text)
        taught = self.velocity(denoise, z, s, drawn.text)
        pairs = {"loss": (own, velocity), "loss_teacher": (taught, velocity), "distance": (own, taught)}
        return {f"val_{name}": F.mse_loss(a.float(), b.float()).item() for name, (a, b) in pairs.items()}

    def _between(self, latents: Tensor, s: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(1 - s) z_0 + s eps with fresh noise, and eps - z_0."""
        noise = torch.randn(latents.shape, generator=generator, device=generator.device).to(self.device)
        z = torch.lerp(latents, noise, s.view(-1, 1, 1, 1))
        return z.contiguous(memory_format=torch.channels_last), noise - latents

    @torch.no_grad()
    def _fit_output(self) -> None:
        generator = torch.Generator(self.device).manual_seed(0)
        train = torch.tensor(self.corpus.split.train)
        drawn = self.draw(train[:: max(1, len(train) // self.fitted_on)][: self.fitted_on], generator)
        s = strata(len(drawn.latents), generator)
        s = s[torch.randperm(len(s), generator=generator, device=generator.device)].to(self.device)
        z, _ = self._between(drawn.latents, s, generator)
        fit_output(self.network, self.velocity, z, s, drawn.text)
