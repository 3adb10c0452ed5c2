"""A denoiser for few steps: distilled from the trained one, so that one evaluation does what many guided ones did."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from treg_exp.errors import FieldError
from treg_exp.recipes.emoji64.captioned import CaptionedLatents
from treg_exp.recipes.emoji64.corpus import CorpusFolder
from treg_exp.recipes.emoji64.denoising import strata, suit_bf16_on_cpus
from treg_exp.recipes.emoji64.latents import computed_once
from treg_exp.recipes.emoji64.segments import Segments, implied_signal, prior_schedule
from treg_exp.recipes.emoji64.trained import TrainedStages
from treg_exp.schedule.levels import Kind, Level, Move, Prediction
from treg_exp.text.guidance.base import mixed


class StudentObjective(CaptionedLatents):
    """Multistep consistency distillation (Heek et al., arXiv 2403.06807) of a denoiser with classifier-free guidance.

    The noise levels are divided into segments, the steps of a sampler with the prior's spacing. From z_t the teacher
    takes one guided DDIM step, and the averaged student goes on from there to the segment's end. The student's own
    DDIM step from z_t to that end is to arrive at the same place. Both ends are compared as the z_0 that lead there,
    with weight clamp(SNR), as in the denoiser's training. With one segment this is consistency distillation (Song et
    al., arXiv 2303.01469) with guidance built in (Luo et al., arXiv 2310.04378).

    The teacher is the stages' denoiser; the student begins with its weights, and has its architecture and its kind of
    output: exported, it is a prior like any other, to be used without guidance and with as many steps as segments.

    Args:
        corpus: where pictures and split are.
        stages: the trained autoencoder, text encoder and denoiser.
        segments: steps of the student.
        teacher_steps: DDIM steps of the teacher over the whole schedule, a multiple of ``segments``.
        guidance_scale: of the teacher's classifier-free guidance. An empty prompt is not guided.
        widths: of the denoiser.
        prompt_dropout: share of pictures that are trained with the empty prompt.
        prediction: what the denoiser predicts.
        snr_range: least and largest weight of an error of z_0.
        reference_steps: DDIM steps of the teacher's samples that the figures compare with, a multiple of ``segments``.
        compared: held-out captions at least that the figures are taken over.
        styled_share: see `CaptionedLatents`.
        versions: likewise.
        embed_beforehand: likewise.
        compile: likewise.

    Raises:
        FieldError: a value out of its range, or a denoiser of other widths or another prediction.
    """

    def __init__(
        self,
        corpus: CorpusFolder,
        stages: TrainedStages,
        segments: int = 8,
        teacher_steps: int = 64,
        guidance_scale: float = 2.0,
        widths: Sequence[int] = (64, 128, 256),
        prompt_dropout: float = 0.1,
        prediction: Kind = "v_prediction",
        snr_range: Sequence[float] = (1.0, 5.0),
        reference_steps: int = 64,
        compared: int = 48,
        styled_share: float | None = None,
        versions: int = 6,
        embed_beforehand: bool = False,
        compile: bool = False,
    ) -> None:
        if not guidance_scale >= 0.0:
            raise FieldError("guidance_scale", guidance_scale, "must be >= 0")
        if len(snr_range) != 2 or not 0.0 <= snr_range[0] <= snr_range[1]:
            raise FieldError("snr_range", list(snr_range), "must be two numbers >= 0, the smaller one first")
        if compared < 1:
            raise FieldError("compared", compared, "must be >= 1")
        self.segments = Segments(prior_schedule(), segments, teacher_steps)
        try:
            self.reference = Segments(prior_schedule(), segments, reference_steps)
        except FieldError as error:
            raise FieldError("reference_steps", reference_steps, error.allowed) from None
        super().__init__(
            corpus, stages, widths, prompt_dropout, prediction, styled_share, versions, embed_beforehand, compile
        )
        if (kept := stages.prediction()) != prediction:
            raise FieldError("prediction", prediction, f"must be {kept}, as of the denoiser to distil")
        self.teacher = stages.denoiser().to(memory_format=torch.channels_last)
        try:
            self.network.load_state_dict(self.teacher.state_dict())
        except RuntimeError:
            raise FieldError("widths", list(widths), "must be those of the denoiser to distil") from None
        self.guidance_scale, self.snr_range, self.compared = guidance_scale, snr_range, compared
        self.references_file = stages.folder("student").path / "references.pt"
        self.target: nn.Module = self.network
        self._suits_bf16 = False

    def prepare(self, number_format: str) -> None:
        """See `CaptionedLatents`; the teacher follows, and the empty prompt is embedded."""
        super().prepare(number_format)
        self.teacher.to(self.device)
        self._suits_bf16 = self.device.type == "cpu" and number_format == "bf16-mixed"
        if self._suits_bf16:
            suit_bf16_on_cpus(self.teacher)
        empty = torch.zeros(1, dtype=torch.long, device=self.device)
        self.empty = self.prompts.embedded(empty, self._encode)

    def advance(self, progress: float, average: nn.Module) -> None:
        """Aim at the averaged student from now on; what makes it fast leaves its weights as they are."""
        if average is not self.target:
            self.target = average
            if self._suits_bf16:
                suit_bf16_on_cpus(average)

    def loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Weighted squared distance between the z_0 of the student and the one that teacher and average lead to."""
        drawn = self.draw(batch, generator)
        count = len(self.segments.times)
        positions = (strata(len(batch), generator) * count).long().clamp(max=count - 1).to(self.device)
        noise = torch.randn(drawn.latents.shape, generator=generator, device=generator.device).to(self.device)
        legs = self.segments.legs(positions)
        now = legs.jump.now
        z_t = now.noisy(drawn.latents, noise)
        with torch.no_grad():
            z_s = legs.step(self._guided(z_t, now, drawn.text))
            z_end = legs.rest(self._predicted(self.target, z_s, legs.rest.now, drawn.text))
            wanted = implied_signal(z_t, z_end, legs.jump)
        found = self._predicted(self.network, z_t, now, drawn.text).z_0
        weight = (now.alpha / now.sigma).square().clamp(*self.snr_range)  # type: ignore[union-attr]
        loss: Tensor = (weight * (found - wanted).square()).mean()
        return loss

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """Squared distance to samples of the teacher with many steps, from the same noise, mean over latents.

        All begin at the first time that the student visits. ``val_distance``: of the averaged student's samples.
        ``val_distance_teacher``: of the teacher's own in as many steps as the student, the reference to beat.
        """
        drawn, generator = self.draw_held_out(self.compared)
        noise = torch.randn(drawn.latents.shape, generator=generator, device=generator.device).to(self.device)
        reference = self.reference
        few = reference.schedule.moves(reference.segments)

        def references() -> dict[str, Tensor]:
            moves = {"many": reference.teacher_moves(), "few": few}
            return {name: self._sample(each, noise, drawn.text, guided=True) for name, each in moves.items()}

        facts = [reference.times, reference.ends, self.guidance_scale, len(noise)]
        kept = computed_once(self.references_file, self.teacher, facts, self.device, references)
        own = self._sample(few, noise, drawn.text, guided=False)
        distances = {"val_distance": own, "val_distance_teacher": kept["few"]}
        return {name: (sample - kept["many"]).square().mean().item() for name, sample in distances.items()}

    def _sample(self, moves: Sequence[Move], z_t: Tensor, text: Tensor, guided: bool) -> Tensor:
        """Plain DDIM in full precision: of the guided teacher, or of the student."""
        with torch.autocast(self.device.type, enabled=False):
            for move in moves:
                told = torch.full((len(z_t),), int(move.now.t), device=self.device)
                level = Level(told, move.now.alpha, move.now.sigma)
                at = self._guided(z_t, level, text) if guided else self._predicted(self.network, z_t, level, text)
                z_t = move(at)
        return z_t

    def _predicted(self, network: nn.Module, z_t: Tensor, level: Level, text: Tensor) -> Prediction:
        noisy = z_t.contiguous(memory_format=torch.channels_last)
        output, _ = self._denoise(network, noisy, level.t, text)
        return level.predict(output.float(), z_t, self.prediction)

    def _guided(self, z_t: Tensor, level: Level, text: Tensor) -> Prediction:
        """The teacher's prediction, null + scale (prompt - null), from one evaluation of twice the batch."""
        if self.guidance_scale == 1.0:
            return self._predicted(self.teacher, z_t, level, text)
        both = torch.cat([self.empty.expand_as(text), text])
        noisy = torch.cat([z_t, z_t]).contiguous(memory_format=torch.channels_last)
        output, _ = self._denoise(self.teacher, noisy, level.tiled(2).t, both)
        null, prompt = output.float().chunk(2)
        return level.predict(mixed(null, prompt, self.guidance_scale), z_t, self.prediction)
