"""The nodes of the pack, and the samplers and schedulers that it registers by name.

Files here only translate between the graph and `samplers/`, except the `_model.py` files, which wrap exact denoisers and
networks as models of the host.
"""

from comfy_api.v0_0_2 import ComfyExtension

from .adaptive_node import RESAdaptive
from .lab_calibrate import RESLabCalibrate
from .lab_calibrated import RESCalibrated
from .lab_measure import RESLabMeasure
from .lab_trace import RESLabTrace
from .plot import RESSigmasPlot
from .processes.process_nodes import DigitsProcessModel, RESGDDIMSample, RESGDDIMTimes, RESLoadCLD
from .registry import register_again_at_start, register_all
from .reshaping_nodes import RESSigmasBlend, RESSigmasResample, RESSigmasSplit
from .samplers import RESGDDIM, RESSDE, RESMultistep, RESSingleStep, RESStochasticChurn
from .schedule_nodes import RESLogSNRCurve, RESLogSNRSchedule
from .schedule_route import register_routes
from .shift_node import RESShiftForSize
from .toy import ToyCondition, ToyDecode, ToyLatent, ToyModel


class RESExtension(ComfyExtension):
    """Everything the host loads from this pack."""

    async def on_load(self):
        register_all()
        register_again_at_start()
        register_routes()

    async def get_node_list(self):
        samplers = [RESMultistep, RESSingleStep, RESSDE, RESStochasticChurn, RESAdaptive, RESGDDIM]
        schedules = [RESLogSNRSchedule, RESLogSNRCurve]
        sigmas = [RESSigmasBlend, RESSigmasResample, RESSigmasSplit, RESSigmasPlot, RESShiftForSize]
        processes = [RESGDDIMTimes, RESGDDIMSample, RESLoadCLD, DigitsProcessModel]
        lab = [RESLabMeasure, RESLabTrace, RESLabCalibrate, RESCalibrated]
        return [*samplers, *schedules, *sigmas, *processes, *lab, ToyModel, ToyCondition, ToyLatent, ToyDecode]
