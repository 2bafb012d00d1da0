"""What steps the adapters: one process (plain) or DeepSpeed ZeRO over many."""
