// Uses the CPU engine as programs do, for the sanitizers (test_engine_library.py).
//
//   load FILE...  a line for each: its logits' sum, or the sentence that refuses it
//   threads FILE  four threads with one engine, and two more that load and free their own
//   fork FILE     a child that was forked after the first answer
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "engine.h"

namespace {

constexpr int kImages = 3;

struct Answer {
  std::vector<float> logits, features;
};

Answer answer(const densenet_engine* engine, int images = kImages) {
  const densenet_engine_shape shape = densenet_engine_describe(engine);
  std::vector<float> pixels(static_cast<size_t>(images) * shape.channels * shape.image_size * shape.image_size);
  for (size_t i = 0; i < pixels.size(); i++) pixels[i] = std::sin(static_cast<float>(i));
  Answer made{std::vector<float>(static_cast<size_t>(images) * shape.classes),
              std::vector<float>(static_cast<size_t>(images) * shape.feature_channels * shape.feature_size *
                                 shape.feature_size)};
  char why[256];
  for (float* features : {static_cast<float*>(nullptr), made.features.data()}) {
    if (densenet_engine_predict(engine, pixels.data(), images, made.logits.data(), features, why, sizeof why)) {
      std::printf("error: %s\n", why);
      std::exit(1);
    }
  }
  return made;
}

double sum(const std::vector<float>& values) {
  double total = 0;
  for (const float value : values) total += value;
  return total;
}

densenet_engine* load(const char* path) {
  char why[256];
  densenet_engine* engine = densenet_engine_load(path, "fp32", why, sizeof why);
  if (engine) return engine;
  std::printf("error: %s\n", why);
  std::exit(1);
}

void load_all(int count, char** paths) {
  for (int i = 0; i < count; i++) {
    char why[512] = "";
    densenet_engine* engine = densenet_engine_load(paths[i], "fp32", why, sizeof why);
    if (engine) {
      std::printf("answers %.9g\n", sum(answer(engine).logits));
    } else {
      std::printf("%s\n", why);
    }
    densenet_engine_free(engine);
  }
  char why[8];  // a sentence is cut
  if (densenet_engine_load(nullptr, "fp32", why, sizeof why) || std::strlen(why) != sizeof why - 1) std::exit(1);
  if (densenet_engine_load("none", "fp32", nullptr, 0)) std::exit(1);
}

void in_threads(const char* path) {
  densenet_engine* shared = load(path);
  const Answer expected = answer(shared, 1);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; i++) {
    threads.emplace_back([&, i] {
      densenet_engine* engine = i < 4 ? shared : load(path);
      for (int time = 0; time < 5; time++) {
        if (answer(engine, 1 + time % 2).logits[0] != expected.logits[0]) wrong++;
      }
      if (i >= 4) densenet_engine_free(engine);
    });
  }
  for (std::thread& thread : threads) thread.join();
  densenet_engine_free(shared);
  std::printf("%d wrong\n", wrong.load());
}

void forked(const char* path) {
  densenet_engine* engine = load(path);
  const Answer expected = answer(engine);
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) _exit(answer(engine).logits == expected.logits ? 7 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  std::printf("child %d, parent %d\n", WEXITSTATUS(status), answer(engine).features == expected.features);
  densenet_engine_free(engine);
}

}  // namespace

int main(int count, char** words) {
  const std::string task = words[1];
  if (task == "load") load_all(count - 2, words + 2);
  if (task == "threads") in_threads(words[2]);
  if (task == "fork") forked(words[2]);
}
