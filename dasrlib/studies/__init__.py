"""§4.2 The experiments, one file each."""

from dasrlib.studies.representation_swaps import content_costs as content_costs
from dasrlib.studies.representation_swaps import wrong_representations as wrong_representations
