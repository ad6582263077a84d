// Runs a model over a data set: pictures in, logits out. `main --help` lists the flags.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "classifier.h"
#include "dataset.h"
#include "image_loader.h"
#include "options.h"
#include "preprocessing.h"
#include "results.h"
#include "utils.h"

namespace {

using densenet::Options;
using Clock = std::chrono::steady_clock;

constexpr size_t kAnswers = 5;  // printed for each picture that nobody has labelled

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void Run(const Options& options) {
  const auto samples = densenet::ListSamples(options.dataset, options.dataset_path);
  const auto classifier = densenet::MakeClassifier(options);
  densenet::Results results(options.output_dir, options.time_dir, options.output_dtype, options.sigmoid);

  const auto start = Clock::now();
  const size_t batch = static_cast<size_t>(classifier->batch());
  const auto load = [&](size_t i) {
    return Preprocess(ReadSample(samples[i], DecodingFor(options.preprocessing)), options.preprocessing);
  };
  // The next batch is made while one is inferred.
  densenet::ImageLoader loader(samples.size(), load, options.threads, 2 * batch + static_cast<size_t>(options.threads));
  const bool prints_answers = options.dataset == "pictures";
  std::vector<std::string> class_names;
  densenet::Summary summary = {options.device_target, samples.size(), 0, classifier->batch(), 0, 0, 0, 0};
  for (size_t first = 0; first < samples.size(); first += batch) {
    const size_t count = std::min(batch, samples.size() - first);
    float* input = classifier->input();
    for (size_t i = 0; i < count; i++) {
      const auto picture = loader.Next();
      input = std::copy(picture.begin(), picture.end(), input);
    }
    // A short last batch is filled up with what is still there, and that is cut off the output.
    const auto inference_start = Clock::now();
    const auto logits = classifier->Infer();
    summary.inference_seconds += SecondsSince(inference_start);
    summary.inferences++;
    summary.classes = logits.size() / batch;
    if (first == 0 && !options.class_names.empty()) {
      class_names = densenet::ReadClassNames(options.class_names, summary.classes);
    }
    for (size_t i = 0; i < count; i++) {
      const auto row = logits.begin() + static_cast<std::ptrdiff_t>(i * summary.classes);
      const std::vector<float> own(row, row + static_cast<std::ptrdiff_t>(summary.classes));
      results.Add(samples[first + i], own);
      if (prints_answers) {
        const auto answers = densenet::Answers(own, class_names, kAnswers, options.sigmoid);
        std::cout << densenet::Printable(samples[first + i].name) << ": " << answers << "\n";
      }
    }
  }
  summary.total_seconds = SecondsSince(start);
  summary.preprocess_seconds = loader.busy_seconds();
  results.Finish(summary);
  std::cout << std::flush;
  std::printf("%zu images, %.2f images per second; results in %s, times in %s\n", summary.images,
              static_cast<double>(summary.images) / summary.total_seconds,
              densenet::Printable(options.output_dir).c_str(), densenet::Printable(options.time_dir).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  return densenet::RunReported([&] {
    if (words.size() == 1 && words[0] == "--help") {
      std::cout << densenet::kHelp;
    } else {
      Run(densenet::ReadOptions(words));
    }
  });
}
