#!/usr/bin/env bash
# From a fresh checkout to a trained network in a few minutes on two cores: make the environment, train DenseNet-100 on
# scikit-learn's handwritten digits, evaluate it on digits it has never seen, and say where the pictures are.
#
#   bash scripts/quickstart.sh [FLAG VALUE]...    flags of train.py, such as --max_epoch 3 or --device_target GPU
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

make_environment requirements.txt
cd "$ROOT"
python="$ROOT/.venv/bin/python"
output="output/quickstart"

"$python" train.py --net densenet100 --dataset digits --eval_data_dir bundled --save_ckpt_path "$output" \
  --image_size 16 --per_batch_size 32 --max_epoch 5 --lr_scheduler cosine_annealing --warmup_epochs 1 --log_interval 10 "$@"

run="$(newest_run "$output" best.ckpt)"
"$python" eval.py --ckpt_files "$run/best.ckpt" --report "$run/report.html" --save_ckpt_path "$output/evaluation"
evaluation="$(newest_run "$output/evaluation" confusion_matrix.png)/confusion_matrix.png"

echo
echo "Look at:"
echo "  $ROOT/$run/preview.png    one augmented training batch"
echo "  $ROOT/$run/curves.png     loss, learning rate and accuracy"
echo "  $ROOT/$evaluation    which digits are taken for which"
echo "  $ROOT/$run/report.html    all of it on one page, for a browser"
