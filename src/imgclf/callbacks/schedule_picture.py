"""The schedule's whole curve as a picture."""

from pytorch_lightning import Callback, LightningModule, Trainer

from imgclf.callbacks.board import log_picture, pages
from imgclf.callbacks.planned_rate import planned_rates, schedule_of
from imgclf.figures.curves import draw_schedules, pixels

_POINTS = 600  # about one for each two pixels of the picture


class SchedulePicture(Callback):
    """Draw the rates that the schedule is going to set, when training begins; nothing for a run without an end."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        schedule = schedule_of(trainer)
        if schedule is None or trainer.global_step > 0:
            return
        if pages(trainer) and (rates := planned_rates(schedule, trainer, _POINTS)):
            unit = "epoch" if schedule.interval == "epoch" else "optimizer step"
            panels = {type(schedule).__name__: {"": list(rates.values())}}
            picture = pixels(draw_schedules(panels, unit, list(rates)))
            log_picture(trainer, "schedule", picture, trainer.global_step)
