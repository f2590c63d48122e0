#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/ids.h"
#include "schemas/result.h"

// OpenSSL's objects with owners, for the files of this folder that speak to it.

namespace landfall {

template <auto release>
struct OpensslRelease {
  template <class T>
  void operator()(T* object) const {
    release(object);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslRelease<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, OpensslRelease<X509_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, OpensslRelease<X509_REQ_free>>;
using BioPtr = std::unique_ptr<BIO, OpensslRelease<BIO_free_all>>;
using StorePtr = std::unique_ptr<X509_STORE, OpensslRelease<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, OpensslRelease<X509_STORE_CTX_free>>;

BioPtr reading_bio(std::string_view text);
std::string bio_text(BIO* bio);

// Errors: `corrupt`.
Result<KeyPtr> parse_key(std::string_view key_pem);
Result<std::vector<CertificatePtr>> parse_certificates(std::string_view pem);
std::string certificate_der(X509* certificate);

bool is_p256(const EVP_PKEY* key);
NodeId node_of(const EVP_PKEY* key);

// What OpenSSL says about its last failure, and forgets it. Never empty.
std::string openssl_reason();

}  // namespace landfall
