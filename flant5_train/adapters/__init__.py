"""LoRA and QLoRA: training adapters on a frozen base model, saving and merging them."""
