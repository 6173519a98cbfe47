"""Personal data: rules for what has a form, evidence for names and addresses, one detector over them all."""

from crew_moe.screening.pii.detector import PiiDetector

__all__ = ["PiiDetector"]
