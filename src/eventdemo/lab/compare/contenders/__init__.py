"""The contenders, one file each: every one is a program that serves the contract's HTTP.

A program reads where it keeps its data from the environment: ``COMPARE_DATA``, a folder,
``COMPARE_POSTGRESQL`` and ``COMPARE_REDIS``, URLs, ``COMPARE_CONNECTIONS``, the size of its pool,
and ``COMPARE_PAYMENT``, the URL of a payment service if purchases have to be paid for.
"""
