#include <memory>
#include <string>
#include <vector>

#include "classifier.h"
#include "engine.h"
#include "utils.h"

namespace densenet {
namespace {

class EngineClassifier : public Classifier {
 public:
  explicit EngineClassifier(const Options& options) : batch_(options.batch_size) {
    if (options.device_target != "CPU") {
      throw UsageError("--device_target is " + options.device_target +
                       ", but this program runs files of the CPU engine");
    }
    if (batch_ == 0) throw UsageError(options.model_path + " takes any batch size; say one with --batch_size");
    char why[512];
    engine_.reset(densenet_engine_load(options.model_path.c_str(), "fp32", why, sizeof why));
    if (!engine_) throw Error(why);
    const densenet_engine_shape shape = densenet_engine_describe(engine_.get());
    if (shape.image_size != options.preprocessing.image_size ||
        shape.channels != static_cast<int>(options.preprocessing.channels())) {
      throw Error(options.model_path + " takes " + std::to_string(shape.channels) + " x " +
                  std::to_string(shape.image_size) + " x " + std::to_string(shape.image_size) +
                  " numbers a picture; --image_size and --mean must be those of the export");
    }
    images_.resize(static_cast<size_t>(batch_) * shape.channels * shape.image_size * shape.image_size);
    classes_ = shape.classes;
  }
  int batch() const override { return batch_; }
  float* input() override { return images_.data(); }
  std::vector<float> Infer() override {
    std::vector<float> logits(static_cast<size_t>(batch_) * classes_);
    char why[512];
    if (densenet_engine_predict(engine_.get(), images_.data(), batch_, logits.data(), nullptr, why, sizeof why)) {
      throw Error(why);
    }
    return logits;
  }

 private:
  struct Free {
    void operator()(densenet_engine* engine) const { densenet_engine_free(engine); }
  };
  int batch_, classes_ = 0;
  std::unique_ptr<densenet_engine, Free> engine_;
  std::vector<float> images_;
};

}  // namespace

std::unique_ptr<Classifier> MakeClassifier(const Options& options) {
  return std::make_unique<EngineClassifier>(options);
}

}  // namespace densenet
