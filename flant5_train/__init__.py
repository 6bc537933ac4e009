"""Fine-tuning of Flan-T5 on multi-turn conversations."""
