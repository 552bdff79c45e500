#!/usr/bin/env bash
# What only a GPU can show, in at most eight minutes: scripts/gpu_check.sh FOLDER
# FOLDER is CIFAR-10 as pictures, FOLDER/train/CLASS/... and FOLDER/test/CLASS/...; PYTHON=... is another interpreter.
# --dry-run in its place does the same in small, on the CPU and made-up pictures. A row is what was checked, ok or
# failed, and a figure; with a row that has failed, or was not begun in time, it ends with 1.
set -uo pipefail
folder=${1:?a folder of pictures, or --dry-run}
[ "$folder" = --dry-run ] || folder=$(cd "$folder" && pwd) || exit 2
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
[ -x "$(command -v "$python")" ] || python=python3
export PYTHONPATH=$PWD/src:$PWD/tests${PYTHONPATH:+:$PYTHONPATH}
work=$(mktemp -d) end=480 device=trainer=gpu model=resnet18 side=96
networks=mlp,lenet,nin,googlenet,resnet18,alexnet,vgg11,torchvision
trap 'rm -rf "$work"' EXIT
size=(data.stored_size=32 data.batch_size=512) short=(trainer.limit_train_batches=20) all=() sprint=() least=0.94 at=30
compared=(resnet18 --images=20000 --steps=100)
if [ "$folder" = --dry-run ]; then
    export OMP_NUM_THREADS=1
    folder=$work/made end=900 device=trainer=cpu model=lenet side=67 least=0 at=3
    networks=mlp,lenet compared=(resnet18 augmentation --images=600 --short)
    PYTHONPATH=$PYTHONPATH:scripts "$python" -c "import pathlib as p, benchmark as b; b.make_pictures(p.Path('$folder'), 400)"
    short=(trainer.limit_train_batches=2 trainer.limit_val_batches=1) all=("${short[@]}")
    size=(data.stored_size=28 data.batch_size=16)
    sprint=("${short[@]}" "${size[@]}" trainer.max_epochs=2 schedule.warmup_updates=1 trainer.limit_test_batches=1)
fi
net=(data=image_folder data.dir="$folder" data.drop_last=true "${size[@]}" model=$model $device logger=none callbacks=bare)
fast=(data.resident=true model.channels_last=true trainer.precision=bf16-mixed +optimizer.fused=true +trainer.benchmark=true)

in_time() { timeout --foreground -k 5 $((end > SECONDS ? end - SECONDS : 1)) "$python" "$@"; }
train() { in_time scripts/train.py "$@"; }

check() { # NAME COMMAND...: a row of the table, whose figure is the last line that the command prints
    local name=$1 said=failed log
    log=$(mktemp "$work/log.XXXX")
    shift
    if ((SECONDS > end - 20)); then
        echo "not begun: no time left" >"$log"
    elif "$@" >"$log" 2>&1; then
        said=ok
    fi
    echo "| $name | $said | $(tail -n 1 "$log") |"
    [ $said = ok ] || { echo "$name:" && tail -n 20 "$log"; } >>"$work/failed"
}

timed() { # as check, with the GPU to itself; on a CPU, where no figure counts, beside the next ones
    check "$@" &
    [ $device = trainer=cpu ] || wait
}

gpu_tests() { in_time -m pytest -o addopts=--import-mode=importlib -q -m gpu tests/engines/test_gpu.py; }

every_network() {
    train -m model=$networks debug=fast $device logger=none callbacks=bare \
        callbacks.checkpoint=null data.resize=$side data.batch_size=2 data.eval_batch_size=2 sweep.preflight=false \
        sweep.report=false hydra.sweep.dir="$work/networks"
}

stopped() {
    local exact=("${net[@]}" "${short[@]}" trainer.max_epochs=3 trainer.deterministic=true)
    train "${exact[@]}" hydra.run.dir="$work/whole" || return
    touch "$work/armed"
    train "${exact[@]}" "+callbacks.stop={_target_: own.Stop, file: $work/armed, name: SIGTERM, step: $at}" \
        hydra.run.dir="$work/stopped"
    [ $? = 143 ] && train resume="$work/stopped" 'trust=[own.]' || return
    "$python" -c "import pathlib as p, run_files; run_files.assert_same(p.Path('$work/whole'), p.Path('$work/stopped'))" &&
        echo "stopped at step $at, the very numbers and weights of a run that was not"
}

repeated() {
    train rerun="$work/whole" hydra.run.dir="$work/whole2" || return
    [ $device = trainer=gpu ] || { echo "deterministic: the same numbers" && return; }
    train rerun="$work/everything" hydra.run.dir="$work/everything2"
    grep -o '"reproduced": [a-z]*' "$work/everything2/run.json" | sed 's/.*: /deterministic: the same numbers; else the same: /'
}

kernel_assert() {
    train -m $device debug=fast logger=none '~loss' +loss._target_=own.Shifted +loss.by=10,0 sweep.report=false \
        hydra.sweep.dir="$work/assert" 2>&1 | tee "$work/assert.log"
    grep -o "1 of 2 jobs finished" "$work/assert.log"
}

per_second() { # RUN: images, in its last epoch
    "$python" -c "import csv; print(round(float([*csv.DictReader(open('$work/$1/metrics.csv'))][-1]['images_per_second'])))"
}

everything() {
    nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits -lms 200 >"$work/used" &
    local watch=$! code used
    train "${net[@]}" "${fast[@]}" trainer.max_epochs=6 test=false hydra.run.dir="$work/everything" "${all[@]}"
    code=$?
    kill $watch
    used=$(sort -n "$work/used" | awk '$1 > 0 {v[n++] = $1} END {print n ? v[int(n / 2)] " %" : "unknown"}')
    [ $code = 0 ] && echo "$(per_second everything) images/s; GPU utilisation: $used (median of those above 0)"
}

against() { # NAME OVERRIDE...
    local run=$1
    shift
    train "${net[@]}" "${fast[@]}" trainer.max_epochs=2 test=false hydra.run.dir="$work/$run" "${all[@]}" "$@" || return
    echo "$(per_second everything) $(per_second "$run")" | awk '{printf "%d images/s; everything: %.2f times that\n", $2, $1 / $2}'
}

# On a processor its figures would say nothing.
[ $device = trainer=gpu ] || against() { train "${net[@]}" "${fast[@]}" "${@:2}" -c job >/dev/null && echo composed; }

loops() { # images/s: plain, template, imgclf, limit; then the ratios
    in_time scripts/benchmark.py --rounds=1 "${compared[@]}" | tee "$work/loops" || return
    grep "^| ${compared[0]}" "$work/loops" | tr '|' ';'
}

speedrun() {
    train experiment=cifar10_speedrun data.dir="$folder" $device logger=none hydra.run.dir="$work/speedrun" "${sprint[@]}" |
        awk -v least=$least '/^test / {accuracy = $3} END {print "accuracy " accuracy; exit accuracy < least}'
}

echo "| check | | |"
echo "|---|---|---|"
[ $device = trainer=cpu ] || check "tests of the GPU" gpu_tests & # which would skip them all
check "every network" every_network &
check "SIGTERM, resume" stopped &
check "kernel assert in a sweep" kernel_assert &
wait
check "everything on" everything
timed "rerun" repeated
timed "images in the processor's memory" against resident data.resident=false
timed "not channels-last" against layout model.channels_last=false
timed "float32" against float32 trainer.precision=32-true
NVIDIA_TF32_OVERRIDE=0 timed "float32 without TF32" against tf32 trainer.precision=32-true
timed "optimizer not fused" against fused ++optimizer.fused=false
timed "without cudnn.benchmark" against cudnn ++trainer.benchmark=false
timed "CIFAR-10 to 94 %" speedrun
if [ $device = trainer=gpu ]; then # a processor takes minutes to compile
    check "everything, and compiled" against compiled model.compile=true
    check "everything, and CUDA graphs" against graphs model.compile=reduce-overhead
fi
timed "other loops" loops # last, as it takes longest
wait
[ ! -e "$work/failed" ] || { cat "$work/failed" && exit 1; }
