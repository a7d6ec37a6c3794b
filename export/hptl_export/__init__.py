"""Export: a trained FCN becomes one self-describing ONNX file, verified before it is published."""
