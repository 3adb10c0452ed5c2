"""Text encoders: from prompts to what a denoiser is told."""
