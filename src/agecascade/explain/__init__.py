"""What a trained network looks at: score maps, Grad-CAM, occlusion, and the comparison ages of DAA.

Each kind takes a model (`estimator.FoldModel`) and pictures, and returns arrays; `study` runs them for a stage, `photos` for a command.
"""
