"""The learner: DreamerV2's world model and actor-critic, the harmonizers, replay and the training loop."""
