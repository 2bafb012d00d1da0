"""The engines that step the adapters: one process (plain), or DeepSpeed ZeRO over many."""
