"""How much of a picture follows from its text: the denoiser against a regression from the pooled text to the latent.

    python docs/results/scripts/text_to_latent.py train/data

Takes the folder (or packed file) of the drawings and measures the shipped prior. Prints, for 200 training and 200
held-out pictures: the share of the latents' variance that one denoising step explains at several times, and how often
the judge finds the name among its first five in the decoded regression, in an encoded and decoded picture, and in a
drawing of the same thing by another artist.
"""

from __future__ import annotations

import sys
import tempfile

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treg_exp.metrics.networks.judge import load_judge
from treg_exp.priors.small import training_scheduler
from treg_exp.priors.texts.clip import token_ids
from treg_exp.recipes.emoji64.captions import styled_caption
from treg_exp.recipes.emoji64.corpus import CorpusFolder
from treg_exp.recipes.emoji64.retrieval import name_hits
from treg_exp.recipes.emoji64.trained import TrainedStages
from treg_exp.shipped import ASSETS

TIMES, COUNT, WIDTH, STEPS, BATCH, RATE, JITTER = (999, 900, 800, 700, 600, 500, 300), 200, 2048, 1200, 256, 1e-3, 0.05


@torch.no_grad()
def main(data_dir: str) -> None:
    """Measure and print; about five minutes on one core."""
    corpus = CorpusFolder(data_dir).load()
    stages = TrainedStages(tempfile.mkdtemp(), ASSETS / "emoji64")
    towers, autoencoder, unet = stages.towers(), stages.autoencoder().eval(), stages.denoiser().eval()
    scale = stages.scaling_factor(corpus)
    every, split = torch.arange(len(corpus.pictures)), corpus.split
    train, held_out = torch.tensor(split.train), torch.tensor(split.held_out)
    captions = [styled_caption(picture.name, picture.style) for picture in corpus.pictures]
    parts = [token_ids(stages.tokenizer(), [captions[i] for i in part.tolist()], "cpu") for part in every.split(256)]
    texts = [towers.text_encoder(part) for part in parts]
    tokens, pooled = (torch.cat([getattr(t, k) for t in texts]) for k in ("last_hidden_state", "pooler_output"))
    z = torch.cat([autoencoder.encode(corpus.as_float(part)).latent_dist.mean for part in every.split(64)]) * scale
    mean = z[train].mean(0, keepdim=True)
    variance = (z[train] - mean).square().mean()
    shown = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(1))[:COUNT]]
    sets = {"training": shown, "held out": held_out[torch.linspace(0, len(held_out) - 1, COUNT).long()]}

    alpha_bar = training_scheduler().alphas_cumprod
    for name, indices in sets.items():
        noise = torch.randn(z[indices].shape, generator=torch.Generator().manual_seed(0))
        for t in TIMES:
            a, s = alpha_bar[t].sqrt(), (1 - alpha_bar[t]).sqrt()
            z_t = a * z[indices] + s * noise
            z_0 = a * z_t - s * unet(z_t, t, tokens[indices]).sample
            print(f"{name}, t={t}: {1 - (z_0 - z[indices]).square().mean() / variance:.3f} explained", flush=True)

    judge = load_judge(None)
    names = judge.text_features(corpus.names)

    def first_five(latents: Tensor, indices: Tensor) -> str:
        images = torch.cat([autoencoder.decode(part / scale).sample.clamp(-1, 1) for part in latents.split(50)])
        return f"{name_hits(judge.image_features(images), names, corpus.labels[indices])['top5'].mean():.1%}"

    for name, indices in sets.items():
        print(f"{name}, encoded and decoded: {first_five(z[indices], indices)}", flush=True)
    same = {corpus.labels[i].item(): i for i in train.tolist()}
    known = torch.tensor([i for i in sets["held out"].tolist() if corpus.labels[i].item() in same])
    others = torch.tensor([same[corpus.labels[i].item()] for i in known.tolist()])
    print(f"held out, another artist's drawing: {first_five(z[others], known)}", flush=True)

    features = F.normalize(pooled, dim=1)
    features = (features - features[train].mean(0)) / features[train].std(0)
    torch.manual_seed(0)
    hidden = (nn.Linear(WIDTH, WIDTH), nn.GELU())
    network = nn.Sequential(nn.Linear(features.shape[1], WIDTH), nn.GELU(), *hidden, nn.Linear(WIDTH, z[0].numel()))
    optimizer, target = torch.optim.AdamW(network.parameters(), RATE), (z - mean).flatten(1)
    for step in range(1, STEPS + 1):
        with torch.enable_grad():
            batch = train[torch.randint(len(train), (BATCH,))]
            inputs = features[batch] + JITTER * torch.randn(BATCH, features.shape[1])
            loss = (network(inputs) - target[batch]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if step in (200, 500, STEPS):
            for name, indices in sets.items():
                made = network(features[indices])
                explained = 1 - (made - target[indices]).square().mean() / variance
                found = first_five(made.view(-1, *z.shape[1:]) + mean, indices)
                print(f"regression, step {step}, {name}: {explained:.3f} explained, {found} found", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
