// What a run leaves behind.
#ifndef DENSENET_RESULTS_H_
#define DENSENET_RESULTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "dataset.h"

namespace densenet {

// IEEE 754 binary16, rounded to nearest, ties to even.
uint16_t FloatToHalf(float value);
float HalfToFloat(uint16_t half);

struct Summary {
  std::string device;
  size_t images, classes;
  int batch;
  size_t inferences;          // batches run
  double preprocess_seconds;  // summed over the threads
  double inference_seconds;
  double total_seconds;  // from the first picture to the last logits; preprocessing and inference overlap
};

// The `count` most probable classes of a picture, `cat 93.10 %, dog 4.20 %`, by their names or, without any, numbers.
// sigmoid: a yes or no to each class, not one answer.
std::string Answers(const std::vector<float>& logits, const std::vector<std::string>& class_names, size_t count,
                    bool sigmoid = false);

// The lines of a file of class names, of which there must be `classes`. Error that says what is wrong with it.
std::vector<std::string> ReadClassNames(const std::string& path, size_t classes);

// Writes output_dir/STEM_0.bin for each picture as it comes, and at the end the reports in time_dir. Both folders must
// be new or empty, and must differ.
class Results {
 public:
  // output_dtype: float32 or float16. sigmoid: of a yes or no to each class.
  Results(const std::string& output_dir, const std::string& time_dir, const std::string& output_dtype,
          bool sigmoid = false);

  // Error when a logit is not finite.
  void Add(const Sample& sample, const std::vector<float>& logits);

  // test_perform_static.txt, predictions.csv and summary.json.
  void Finish(const Summary& summary) const;

 private:
  // The number of the most probable class, or of all with the probability 0.5 or more, with | between.
  std::string Answer(const std::vector<float>& logits) const;

  const std::string output_dir_, time_dir_, output_dtype_;
  const bool sigmoid_;
  std::string predictions_;
};

}  // namespace densenet

#endif  // DENSENET_RESULTS_H_
