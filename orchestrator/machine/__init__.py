"""A process and its machine: the device, the memory, kernels that give the same bits each time."""
