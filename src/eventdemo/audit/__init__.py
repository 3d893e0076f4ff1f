"""The receipt: checks the promises against event pool, session cache and read models."""

from eventdemo.audit.auditor import audit
from eventdemo.audit.receipt import ProductReceipt, Receipt

__all__ = ["ProductReceipt", "Receipt", "audit"]
