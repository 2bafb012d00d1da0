"""One small file a method; `d2lora.registry` names them."""
