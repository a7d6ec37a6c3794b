"""The report of a results folder: one HTML file for whoever gets the figures."""

from hptl_deploy.report.writing import report_after_run, write_report

__all__ = ["report_after_run", "write_report"]
