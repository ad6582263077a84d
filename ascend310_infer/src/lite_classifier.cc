#include "classifier.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <thread>

#include "include/api/context.h"
#include "include/api/model.h"
#include "include/api/types.h"
#include "results.h"
#include "utils.h"

namespace densenet {
namespace {

using mindspore::DataType;

void Check(const mindspore::Status& status, const std::string& what) {
  if (status != mindspore::kSuccess) throw Error(what + ": " + status.ToString());
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t side : shape) text += (text.empty() ? "" : ", ") + std::to_string(side);
  return "(" + text + ")";
}

std::shared_ptr<mindspore::Context> MakeContext(const Options& options) {
  auto context = std::make_shared<mindspore::Context>();
  if (options.device_target == "Ascend") {
    auto ascend = std::make_shared<mindspore::AscendDeviceInfo>();
    ascend->SetDeviceID(static_cast<uint32_t>(options.device_id));
    if (!options.precision_mode.empty()) ascend->SetPrecisionMode(options.precision_mode);
    context->MutableDeviceInfo().push_back(ascend);
  } else {
    context->SetThreadNum(static_cast<int32_t>(std::max(std::thread::hardware_concurrency(), 1U)));
    context->MutableDeviceInfo().push_back(std::make_shared<mindspore::CPUDeviceInfo>());
  }
  return context;
}

class LiteClassifier : public Classifier {
 public:
  explicit LiteClassifier(const Options& options);
  int batch() const override { return batch_; }
  float* input() override;
  std::vector<float> Infer() override;

 private:
  mindspore::Model model_;
  std::vector<mindspore::MSTensor> inputs_;
  int batch_ = 0;
};

LiteClassifier::LiteClassifier(const Options& options) {
  const std::string& path = options.model_path;
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) throw Error("there is no model file " + path);
  Check(model_.Build(path, mindspore::kMindIR, MakeContext(options)),
        "MindSpore Lite (its messages are above) cannot load " + path + " on " + options.device_target +
            "; the file is damaged or too new for it (export.py --mindir_version 1), or the device is not there");
  inputs_ = model_.GetInputs();
  const int64_t size = options.preprocessing.image_size;
  std::vector<int64_t> shape = inputs_.size() == 1 ? inputs_[0].Shape() : std::vector<int64_t>{};
  if (inputs_.size() == 1 && inputs_[0].DataType() == DataType::kNumberTypeUInt8) {
    throw Error(path + " has AIPP inside: it expects uint8 pictures of " + ShapeText(shape) +
                ", as the remarks of its AIPP configuration say, and this program hands over prepared float32 values; "
                "convert it without AIPP, or feed it from a program of your own");
  }
  const auto channels = static_cast<int64_t>(options.preprocessing.channels());
  if (shape.size() != 4 || shape[1] != channels || shape[2] != size || shape[3] != size ||
      inputs_[0].DataType() != DataType::kNumberTypeFloat32) {
    throw Error("the input of " + path + " should be one of float32 (batch, " + std::to_string(channels) + ", " +
                std::to_string(size) + ", " + std::to_string(size) + "), found " +
                (shape.empty() ? "another number of inputs" : ShapeText(shape)) +
                "; --image_size must be that of the export");
  }
  if (shape[0] > 0 && options.batch_size > 0 && shape[0] != options.batch_size) {
    throw Error(path + " was exported for batches of " + std::to_string(shape[0]) + ", not " +
                std::to_string(options.batch_size) + "; leave --batch_size out");
  }
  if (shape[0] <= 0) {
    if (options.batch_size == 0) throw UsageError(path + " takes any batch size; say one with --batch_size");
    shape[0] = options.batch_size;
    Check(model_.Resize(inputs_, {shape}), path + " cannot be set to batches of " + std::to_string(shape[0]));
    inputs_ = model_.GetInputs();
  }
  batch_ = static_cast<int>(shape[0]);
  if (inputs_[0].DataSize() != sizeof(float) * static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3])) {
    throw Error("MindSpore Lite takes an input of " + std::to_string(inputs_[0].DataSize()) + " bytes for the shape " +
                ShapeText(shape));
  }
}

float* LiteClassifier::input() {
  void* data = inputs_[0].MutableData();
  if (!data) throw std::bad_alloc();
  return static_cast<float*>(data);
}

std::vector<float> LiteClassifier::Infer() {
  std::vector<mindspore::MSTensor> outputs;
  Check(model_.Predict(inputs_, &outputs), "the inference failed (MindSpore Lite's messages are above)");
  const auto shape = outputs.size() == 1 ? outputs[0].Shape() : std::vector<int64_t>{};
  if (shape.size() != 2 || shape[0] != batch_ || shape[1] < 1) {
    throw Error("the model's output should be logits of shape (" + std::to_string(batch_) + ", classes), found " +
                ShapeText(shape));
  }
  std::vector<float> logits(static_cast<size_t>(shape[0] * shape[1]));
  const auto data = outputs[0].Data();
  if (outputs[0].DataType() == DataType::kNumberTypeFloat32 && outputs[0].DataSize() == 4 * logits.size()) {
    std::memcpy(logits.data(), data.get(), outputs[0].DataSize());
  } else if (outputs[0].DataType() == DataType::kNumberTypeFloat16 && outputs[0].DataSize() == 2 * logits.size()) {
    const auto* halves = static_cast<const uint16_t*>(data.get());
    std::transform(halves, halves + logits.size(), logits.begin(), HalfToFloat);
  } else {
    throw Error("the model's output should be float32 or float16, found MindSpore's type number " +
                std::to_string(static_cast<int>(outputs[0].DataType())));
  }
  return logits;
}

}  // namespace

std::unique_ptr<Classifier> MakeClassifier(const Options& options) { return std::make_unique<LiteClassifier>(options); }

}  // namespace densenet
