"""A small base model and tasks that need no download: both are generated from one small invented world."""

from __future__ import annotations

from orchestrator.tiny.base import ensure_tiny_base
from orchestrator.tiny.pretrain import TinySettings

__all__ = ["TinySettings", "ensure_tiny_base"]
