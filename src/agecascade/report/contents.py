"""What the report shows of each file: its section and its caption. Files that are not named here are appended at its end."""

from __future__ import annotations

from dataclasses import dataclass

SECTIONS = {
    "data": "Data",
    "training": "Networks and training",
    "results": "Results",
    "confidence": "Confidence",
    "slices": "Slices and hard cases",
    "groups": "Groups",
    "thresholds": "Age thresholds",
    "explain": "What the network looks at",
    "efficiency": "Efficiency",
    "further": "Further tables and figures",
}


@dataclass(frozen=True)
class Entry:
    """Where a table or a figure stands, and what its caption says."""

    section: str
    caption: str


# metrics/tables/<name>.csv, in the order of the page; {target}: the data set of the main table
TABLES = {
    "mae": Entry(
        "results",
        "errors of every row on test pictures. MAE is the mean of the folds' MAEs, with its interval; fold median and quartiles are of "
        "the same MAEs, all other figures over the pictures of all folds together. CS(n), CA(n): share of errors of at most n, of less "
        "than n.",
    ),
    "comparison": Entry("results", "Paired comparison of each row with the main one (main MAE) on the same test pictures."),
    "distributions": Entry(
        "confidence",
        "Predicted distributions: likelihood, CRPS and calibration. Own: intervals between the distribution's own quantiles, the share of "
        "labels that they hold and their mean width. Temperature: fitted on the calibration pictures, for the tempered figures only.",
    ),
    "coverage": Entry(
        "confidence",
        "Share of labels that the intervals hold, with its exact binomial interval of 95 % (low, high), and their mean width, by band "
        "of the label. Own: between the quantiles of the predicted distribution; conformal: fitted on the calibration pictures.",
    ),
    "slices": Entry("slices", "Error of the main row by slice of the test pictures; difference: the MAE less that of the other pictures."),
    "hardest_subjects": Entry("slices", "Subjects with the largest MAE."),
    "held_out_together": Entry("slices", "Error when several subjects are held out together."),
    "groups": Entry("groups", "Accuracy, precision and recall of groups; 1-off: the right group or one beside it."),
    "confusion_matrix": Entry("groups", "True groups (rows) against predicted ones (columns), in pictures; n: all of the true group."),
    "thresholds": Entry(
        "thresholds",
        "What a threshold T lets through and whom it asks: shares of minors who pass, and of adults who are asked for a proof of age. "
        "The estimate or the predicted probability of the legal age decides; a chosen T is judged on pictures that it was not chosen on.",
    ),
    "efficiency": Entry("efficiency", "Size and speed of the networks."),
}

# plots/results/<name>.png, in the order of the page
FIGURES = {
    "labels": Entry("data", "Labels of the target data set by role, in its first fold."),
    "curves": Entry("training", "Training loss and validation error over the epochs, first fold of each row."),
    "daa": Entry("training", "Styles that DAA has learned of its comparison ages."),
    "mae": Entry("results", "MAE of every row with its interval."),
    "critical_difference": Entry("results", "Mean ranks of the rows; those joined by a bar are not distinguishable."),
    "cumulative_score": Entry("results", "Cumulative score: share of pictures with an error of at most n."),
    "predictions": Entry("results", "Predicted against true labels on test pictures; the line is the identity."),
    "fold_errors": Entry("results", "MAE of each fold, by row."),
    "time_bounded_fold_errors": Entry("results", "Errors of the folds of rows that are bounded by time, which do not regenerate exactly."),
    "estimates": Entry("results", "Good and poor estimates."),
    "top_and_bottom": Entry("results", "Pictures with the highest and the lowest predictions."),
    "reliability": Entry(
        "confidence", "Reliability of the predicted distributions: the share of labels at or below each predicted quantile."
    ),
    "coverage": Entry("confidence", "Share of labels that the intervals hold, by band, and their width."),
    "slices": Entry("slices", "Error by slice."),
    "held_out_together": Entry("slices", "Errors of subjects that were held out together."),
    "error_by_density": Entry("slices", "Error against the number of training pictures with a label near by."),
    "confusion": Entry("groups", "Confusion matrix of the groups."),
    "thresholds": Entry("thresholds", "Minors let through and adults asked, by challenge age."),
}

# plots/data/<name>.png of describe
DATA_FIGURES = {
    "labels": Entry("data", "Labels of every data set after cleaning."),
    "mean_faces": Entry("data", "Mean of the aligned faces of every data set: a sharp one shows that the faces lie on one another."),
}

# plots/explain/<kind>/*.png
EXPLANATIONS = {
    "score_map": "Score map: where on the last feature maps the scores of the predicted ages come from.",
    "grad_cam": "Grad-CAM of the predicted and of the true age: places that raise its score, or the prediction where an age has no score.",
    "occlusion": "Occlusion: relative growth of the MAE when a place is covered by the mean training picture.",
    "comparison_ages": "Comparison ages of Delta Age AdaIN: what each of them says, and how far off it is.",
}
