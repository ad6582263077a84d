#include "image_loader.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "utils.h"

namespace densenet {

ImageLoader::ImageLoader(size_t count, Load load, int threads, size_t ahead) : count_(count), load_(std::move(load)) {
  for (size_t i = 0; i < std::min(count, ahead); i++) Submit();
  try {
    for (int i = 0; i < threads; i++) threads_.emplace_back(&ImageLoader::Work, this);
  } catch (const std::exception& error) {
    Stop();  // there will be no destructor call
    throw Error("only " + std::to_string(threads_.size()) + " of " + std::to_string(threads) +
                " threads could be started: " + error.what() + "; use fewer --threads");
  }
}

ImageLoader::~ImageLoader() { Stop(); }

void ImageLoader::Stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) thread.join();
}

std::vector<float> ImageLoader::Next() {
  auto picture = results_.front().get();
  results_.pop_front();
  if (submitted_ < count_) Submit();
  return picture;
}

void ImageLoader::Submit() {
  std::packaged_task<std::vector<float>()> task([this, i = submitted_++] {
    const auto start = std::chrono::steady_clock::now();
    auto picture = load_(i);
    busy_nanoseconds_ += std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count();
    return picture;
  });
  results_.push_back(task.get_future());
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
}

void ImageLoader::Work() {
  for (;;) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (stopping_) return;
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
  }
}

}  // namespace densenet
