"""The trainer: synthetic performer, data sets, losses, one visible loop, checkpoints, fine-tuning."""
