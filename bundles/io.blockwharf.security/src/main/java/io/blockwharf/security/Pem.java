package io.blockwharf.security;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.InvalidKeyException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Signature;
import java.security.cert.CRL;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.InvalidKeySpecException;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.PSSParameterSpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import javax.crypto.BadPaddingException;
import javax.crypto.Cipher;
import javax.crypto.EncryptedPrivateKeyInfo;
import javax.crypto.SecretKey;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.PBEKeySpec;
import javax.crypto.spec.SecretKeySpec;

/** Certificates, revocation lists and private keys in PEM. RFC 7468. */
final class Pem {
    private static final Pattern BLOCK =
            Pattern.compile("-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \\1-----", Pattern.DOTALL);

    private static final Pattern DEK_INFO =
            Pattern.compile("DEK-Info: *([A-Z0-9-]+) *, *((?:[0-9A-Fa-f]{2}){8,16})\\s*\n");

    /** Algorithms of PKCS #8 keys; the encoding names it, but the JDK wants to be told. */
    private static final List<String> ALGORITHMS = List.of("RSA", "EC", "Ed25519", "RSASSA-PSS");

    /** AlgorithmIdentifier of rsaEncryption with NULL parameters. RFC 8017, A.1. */
    private static final byte[] RSA = {
        0x30,
        0x0d,
        0x06,
        0x09,
        0x2a,
        (byte) 0x86,
        0x48,
        (byte) 0x86,
        (byte) 0xf7,
        0x0d,
        0x01,
        0x01,
        0x01,
        0x05,
        0x00
    };

    /** OBJECT IDENTIFIER of id-ecPublicKey. RFC 5480, 2.1.1. */
    private static final byte[] EC = {0x06, 0x07, 0x2a, (byte) 0x86, 0x48, (byte) 0xce, 0x3d, 2, 1};

    private Pem() {}

    static List<X509Certificate> certificates(byte[] pem) throws GeneralSecurityException {
        List<X509Certificate> certificates = new ArrayList<>();
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        for (var certificate : factory.generateCertificates(new ByteArrayInputStream(pem))) {
            certificates.add((X509Certificate) certificate);
        }
        return certificates;
    }

    static Collection<? extends CRL> revocations(byte[] pem) throws GeneralSecurityException {
        return CertificateFactory.getInstance("X.509").generateCRLs(new ByteArrayInputStream(pem));
    }

    /**
     * The first private key: PKCS #8, or the older forms of RSA and EC keys, plain or encrypted.
     *
     * @param password empty: an encrypted key is an error
     */
    static PrivateKey privateKey(String pem, Optional<char[]> password)
            throws GeneralSecurityException {
        Matcher block = BLOCK.matcher(pem);
        while (block.find()) {
            String type = block.group(1);
            switch (type) {
                case "PRIVATE KEY" -> {
                    return pkcs8(bytes(block.group(2)));
                }
                case "RSA PRIVATE KEY" -> {
                    return pkcs8(wrap(RSA, older(block.group(2), password)));
                }
                case "EC PRIVATE KEY" -> {
                    byte[] der = older(block.group(2), password);
                    return pkcs8(wrap(tagged(0x30, concat(EC, curve(der))), der));
                }
                case "ENCRYPTED PRIVATE KEY" -> {
                    return encrypted(bytes(block.group(2)), required(password));
                }
                default -> {} // certtool writes parameters and comments as well
            }
        }
        throw new InvalidKeyException("no private key");
    }

    private static byte[] bytes(String base64) throws InvalidKeyException {
        try {
            return Base64.getMimeDecoder().decode(base64);
        } catch (IllegalArgumentException e) {
            throw new InvalidKeyException("damaged Base64", e);
        }
    }

    private static char[] required(Optional<char[]> password) throws InvalidKeyException {
        return password.orElseThrow(() -> new InvalidKeyException("Decryption has failed."));
    }

    /** EncryptedPrivateKeyInfo. RFC 5958, 3. */
    private static PrivateKey encrypted(byte[] der, char[] password)
            throws GeneralSecurityException {
        try {
            EncryptedPrivateKeyInfo info = new EncryptedPrivateKeyInfo(der);
            AlgorithmParameters parameters = info.getAlgParameters();
            // PBES2 is a family: the JDK names its member by the parameters
            String algorithm =
                    parameters != null && parameters.getAlgorithm().contains("PBES2")
                            ? parameters.toString()
                            : info.getAlgName();
            SecretKey key =
                    SecretKeyFactory.getInstance(algorithm)
                            .generateSecret(new PBEKeySpec(password));
            Cipher cipher = Cipher.getInstance(algorithm);
            cipher.init(Cipher.DECRYPT_MODE, key, parameters);
            return pkcs8(cipher.doFinal(info.getEncryptedData()));
        } catch (IOException | BadPaddingException | InvalidKeySpecException e) {
            throw new InvalidKeyException("Decryption has failed.", e);
        }
    }

    /**
     * The bytes of a key in one of OpenSSL's own forms, whose encryption stands in header lines:
     * {@code Proc-Type: 4,ENCRYPTED} and {@code DEK-Info: AES-256-CBC,} with the initialization
     * vector, RFC 1421, 4.6.1.
     */
    private static byte[] older(String content, Optional<char[]> password)
            throws GeneralSecurityException {
        Matcher header = DEK_INFO.matcher(content);
        if (!header.find()) {
            return bytes(content);
        }
        Optional<DekCipher> found =
                Arrays.stream(DekCipher.values())
                        .filter(c -> c.name().equals(header.group(1).replace('-', '_')))
                        .findFirst();
        DekCipher cipher =
                found.orElseThrow(
                        () ->
                                new InvalidKeyException(
                                        "encrypted with "
                                                + header.group(1)
                                                + ", which is unknown"));
        byte[] iv = HexFormat.of().parseHex(header.group(2));
        try {
            Cipher decryption = Cipher.getInstance(cipher.transformation);
            decryption.init(
                    Cipher.DECRYPT_MODE,
                    new SecretKeySpec(
                            derive(required(password), iv, cipher.keyBytes), cipher.algorithm),
                    new IvParameterSpec(iv));
            return decryption.doFinal(bytes(content.substring(header.end())));
        } catch (BadPaddingException e) {
            throw new InvalidKeyException("Decryption has failed.", e);
        }
    }

    /** What OpenSSL writes into DEK-Info, in our spelling. */
    private enum DekCipher {
        AES_128_CBC("AES", 16),
        AES_192_CBC("AES", 24),
        AES_256_CBC("AES", 32),
        DES_EDE3_CBC("DESede", 24);

        private final String algorithm;
        private final String transformation;
        private final int keyBytes;

        DekCipher(String algorithm, int keyBytes) {
            this.algorithm = algorithm;
            this.keyBytes = keyBytes;
            transformation = algorithm + "/CBC/PKCS5Padding";
        }
    }

    /** OpenSSL, EVP_BytesToKey(3) with MD5, one round, the first 8 bytes of the vector as salt. */
    private static byte[] derive(char[] password, byte[] iv, int keyBytes)
            throws GeneralSecurityException {
        byte[] secret = new String(password).getBytes(StandardCharsets.UTF_8);
        MessageDigest md5 = MessageDigest.getInstance("MD5");
        byte[] key = new byte[0];
        byte[] last = key;
        while (key.length < keyBytes) {
            md5.update(last);
            md5.update(secret);
            md5.update(iv, 0, 8);
            last = md5.digest();
            key = concat(key, last);
        }
        return Arrays.copyOf(key, keyBytes);
    }

    /** Whether a key is the one that a certificate is about. */
    static boolean match(X509Certificate certificate, PrivateKey key)
            throws GeneralSecurityException {
        PublicKey known = certificate.getPublicKey();
        String algorithm =
                switch (known.getAlgorithm()) {
                    case "RSA" -> "SHA256withRSA";
                    case "EC" -> "SHA256withECDSA";
                    default -> known.getAlgorithm();
                };
        if (!key.getAlgorithm().equals(known.getAlgorithm())) {
            return false;
        }
        Signature signature = Signature.getInstance(algorithm);
        if (known.getAlgorithm().equals("RSASSA-PSS")) {
            signature.setParameter(
                    new PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1));
        }
        signature.initSign(key);
        byte[] signed = signature.sign();
        signature.initVerify(known);
        return signature.verify(signed);
    }

    private static PrivateKey pkcs8(byte[] der) throws GeneralSecurityException {
        GeneralSecurityException last = null;
        for (String algorithm : ALGORITHMS) {
            try {
                return KeyFactory.getInstance(algorithm)
                        .generatePrivate(new PKCS8EncodedKeySpec(der));
            } catch (GeneralSecurityException e) {
                last = e;
            }
        }
        throw last;
    }

    /** PrivateKeyInfo. RFC 5208, 5. */
    private static byte[] wrap(byte[] algorithm, byte[] key) {
        byte[] version = {0x02, 0x01, 0x00};
        return tagged(0x30, concat(version, algorithm, tagged(0x04, key)));
    }

    /** The named curve in the parameters, [0], of an ECPrivateKey. RFC 5915, 3. */
    private static byte[] curve(byte[] der) throws InvalidKeyException {
        // SEQUENCE { INTEGER 1, OCTET STRING key, [0] { OBJECT IDENTIFIER }, [1] ... }
        try {
            int at = contentAt(der, 0);
            at = contentAt(der, at) + length(der, at);
            at = contentAt(der, at) + length(der, at);
            if ((der[at] & 0xff) != 0xa0) {
                throw new InvalidKeyException("an EC key without its curve");
            }
            int oid = contentAt(der, at);
            return Arrays.copyOfRange(der, oid, oid + length(der, at));
        } catch (IndexOutOfBoundsException e) {
            throw new InvalidKeyException("a damaged EC key", e);
        }
    }

    /** Where the content of the element at {@code at} begins. */
    private static int contentAt(byte[] der, int at) {
        return at + 2 + ((der[at + 1] & 0x80) == 0 ? 0 : der[at + 1] & 0x7f);
    }

    private static int length(byte[] der, int at) {
        if ((der[at + 1] & 0x80) == 0) {
            return der[at + 1];
        }
        int length = 0;
        for (int i = 0; i < (der[at + 1] & 0x7f); i++) {
            length = length << 8 | der[at + 2 + i] & 0xff;
        }
        return length;
    }

    private static byte[] tagged(int tag, byte[] content) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(tag);
        if (content.length < 0x80) {
            out.write(content.length);
        } else {
            out.write(0x82);
            out.write(content.length >> 8);
            out.write(content.length);
        }
        out.writeBytes(content);
        return out.toByteArray();
    }

    private static byte[] concat(byte[]... parts) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            out.writeBytes(part);
        }
        return out.toByteArray();
    }
}
