# Distributed under the terms of the MIT licence or the Apache License 2.0
# To be copied as jsshim-VERSION.ebuild.

EAPI=8

RUST_MIN_VER="1.88.0"
# Vendored: cargo vendor --versioned-dirs vendor
CRATES=""

inherit cargo

DESCRIPTION="Makes programs queue on GNU make's job server"
HOMEPAGE="https://example.org/jsshim"
SRC_URI="${P}.tar.gz ${P}-vendor.tar.gz"

LICENSE="|| ( MIT Apache-2.0 )"
SLOT="0"
KEYWORDS="~amd64 ~arm64"
# They need other tools than an ebuild may ask for.
RESTRICT="fetch test"

# Without a libc, and with two segments.
QA_PREBUILT="usr/*/jsshim/*"

src_unpack() {
	default
	mv vendor "${S}"/ || die
	cat >>"${S}"/.cargo/config.toml <<-CONFIG || die
		[source.crates-io]
		replace-with = "vendored-sources"
		[source.vendored-sources]
		directory = "vendor"
	CONFIG
}

src_configure() {
	:
}

src_compile() {
	cargo build --frozen --offline --release --workspace || die
}

src_install() {
	scripts/install --built="${S}"/target/release --destdir="${D}" --prefix="${EPREFIX}"/usr --libdir="$(get_libdir)" || die
	# portage keeps a list of its own.
	rm "${ED}"/usr/share/jsshim/manifest || die
	mv "${ED}"/usr/share/doc/jsshim "${ED}/usr/share/doc/${PF}" || die
	docompress -x "/usr/share/doc/${PF}"
}
