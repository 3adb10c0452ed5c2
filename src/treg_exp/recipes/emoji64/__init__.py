"""How the shipped emoji prior was made: data recipe, autoencoder, CLIP, latent UNet, export."""
