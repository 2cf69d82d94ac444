"""From pictures to upright crops: detectors, similarity alignment, encoding. The align stage and the Estimator share this code."""
