#include "image_loader.h"

#include <doctest/doctest.h>

#include <chrono>

#include "message.h"
#include "utils.h"

using namespace densenet;

TEST_CASE("pictures come in order from threads of different speed") {
  ImageLoader loader(
      100,
      [](size_t i) {
        std::this_thread::sleep_for(std::chrono::microseconds(i % 7 * 100));
        return std::vector<float>{static_cast<float>(i)};
      },
      4, 9);
  for (int i = 0; i < 100; i++) CHECK(loader.Next() == std::vector<float>{static_cast<float>(i)});
  CHECK(loader.busy_seconds() > 0.02);
}

TEST_CASE("no more pictures are made than asked for ahead") {
  std::atomic<size_t> made{0};
  ImageLoader loader(
      50,
      [&](size_t) {
        made++;
        return std::vector<float>{};
      },
      3, 5);
  for (size_t taken = 0; taken < 50; taken++) {
    CHECK(made <= taken + 5);
    loader.Next();
  }
  CHECK(made == 50);
}

TEST_CASE("the first picture that fails, in order, is the error, and the threads end") {
  const auto load = [](size_t i) -> std::vector<float> {
    if (i == 3) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    if (i >= 3) throw Error("picture " + std::to_string(i) + " is bad");
    return {};
  };
  ImageLoader loader(1000, load, 4, 20);
  for (int i = 0; i < 3; i++) loader.Next();
  CHECK(Message<Error>([&] { loader.Next(); }) == "picture 3 is bad");
}
