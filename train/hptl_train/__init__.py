"""Training: hierarchical parameter transfer learning (HPTL) in PyTorch.

The paper: "hierarchical parameter transfer learning for aluminium alloy micrograph
segmentation", J. Electronic Imaging 28(5), 053018, 2019, doi 10.1117/1.JEI.28.5.053018.
"""
