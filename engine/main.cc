// A model on the command line.
//
//   densenet_engine MODEL                     says what it is
//   densenet_engine MODEL IMAGES [PRECISION]  answers a file of float32 images, prepared as the manifest says: a line
//   of
//                                             logits each
//   densenet_engine MODEL --benchmark COUNT [PRECISION]  images a second in batches of COUNT
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine.h"

namespace {

constexpr int kTogether = 32;  // images that are read and answered at once
constexpr double kSeconds = 3;

int fail(const std::string& sentence, int status = 1) {
  std::fprintf(stderr, "error: %s\n", sentence.c_str());
  return status;
}

size_t image_floats(const densenet_engine_shape& shape) {
  return static_cast<size_t>(shape.channels) * shape.image_size * shape.image_size;
}

int answer(const densenet_engine* engine, const std::string& path) {
  const densenet_engine_shape shape = densenet_engine_describe(engine);
  std::vector<float> images(image_floats(shape) * kTogether), logits(static_cast<size_t>(shape.classes) * kTogether);
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) return fail(path + " cannot be read; give a file of float32 images");
  char why[512];
  for (;;) {
    const size_t floats = std::fread(images.data(), sizeof(float), images.size(), file);
    const size_t count = floats / image_floats(shape);
    if (floats % image_floats(shape) || (!count && std::ferror(file))) {
      std::fclose(file);
      return fail(path + " does not hold whole images of " + std::to_string(image_floats(shape)) + " float32 numbers");
    }
    if (!count) break;
    if (densenet_engine_predict(engine, images.data(), static_cast<int64_t>(count), logits.data(), nullptr, why,
                                sizeof why)) {
      std::fclose(file);
      return fail(why);
    }
    for (size_t i = 0; i < count * shape.classes; i++) {
      std::printf("%.9g%c", logits[i], (i + 1) % shape.classes ? ' ' : '\n');
    }
  }
  std::fclose(file);
  return 0;
}

int benchmark(const densenet_engine* engine, int count) {
  using Clock = std::chrono::steady_clock;
  const densenet_engine_shape shape = densenet_engine_describe(engine);
  std::vector<float> images(image_floats(shape) * count), logits(static_cast<size_t>(shape.classes) * count);
  for (size_t i = 0; i < images.size(); i++) images[i] = std::sin(static_cast<float>(i));
  char why[512];
  double fastest = 1e9;
  const auto end = Clock::now() + std::chrono::duration<double>(kSeconds);
  do {
    const auto start = Clock::now();
    if (densenet_engine_predict(engine, images.data(), count, logits.data(), nullptr, why, sizeof why))
      return fail(why);
    fastest = std::min(fastest, std::chrono::duration<double>(Clock::now() - start).count());
  } while (Clock::now() < end);
  std::printf("%.1f images a second in batches of %d (fastest call), %s\n", count / fastest, count,
              densenet_engine_instruction_set(engine));
  return 0;
}

}  // namespace

int main(int count, char** words) {
  const bool measures = count > 3 && std::string(words[2]) == "--benchmark";
  const int images = measures ? std::atoi(words[3]) : 0, precision = measures ? 4 : 3;
  if (count < 2 || count > precision + 1 || (measures && (images < 1 || images > 4096))) {
    return fail("usage: densenet_engine MODEL [IMAGES | --benchmark COUNT] [fp32 | bf16]", 2);
  }
  char why[512];
  densenet_engine* engine =
      densenet_engine_load(words[1], count > precision ? words[precision] : "fp32", why, sizeof why);
  if (!engine) return fail(why);
  int status = 0;
  if (measures) {
    status = benchmark(engine, images);
  } else if (count > 2) {
    status = answer(engine, words[2]);
  } else {
    std::printf("%s\n", densenet_engine_manifest(engine));
    std::fprintf(stderr, "computes with %s\n", densenet_engine_instruction_set(engine));
  }
  densenet_engine_free(engine);
  return status;
}
