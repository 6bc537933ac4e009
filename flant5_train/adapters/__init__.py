"""LoRA and QLoRA: thin additions to a frozen base model, trained, saved alone and merged."""
