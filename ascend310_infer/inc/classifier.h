// The network, run by MindSpore Lite.
#ifndef DENSENET_CLASSIFIER_H_
#define DENSENET_CLASSIFIER_H_

#include <vector>

#include "include/api/model.h"
#include "options.h"

namespace densenet {

class Classifier {
 public:
  // Loads the model onto the device. Error when that fails or the model's input is not (batch, channels, S, S) float32
  // of the asked-for image size.
  explicit Classifier(const Options& options);

  int batch() const { return batch_; }

  // Where the pictures of the next batch are put: batch x channels x S x S, valid until Infer.
  float* input();

  // Logits of the batch in `input`, (batch, classes) one after another.
  std::vector<float> Infer();

 private:
  mindspore::Model model_;
  std::vector<mindspore::MSTensor> inputs_;
  int batch_ = 0;
};

}  // namespace densenet

#endif  // DENSENET_CLASSIFIER_H_
