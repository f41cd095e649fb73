import java.io.IOException;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.util.Set;
import javax.net.ssl.KeyManagerFactory;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.Extensions;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cert.jcajce.JcaX509CertificateHolder;
import org.bouncycastle.est.ESTAuth;
import org.bouncycastle.est.ESTException;
import org.bouncycastle.est.ESTService;
import org.bouncycastle.est.EnrollmentResponse;
import org.bouncycastle.est.jcajce.JcaHttpAuthBuilder;
import org.bouncycastle.est.jcajce.JcaJceUtils;
import org.bouncycastle.est.jcajce.JsseESTServiceBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.openssl.jcajce.JcaPEMWriter;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.OperatorCreationException;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.bouncycastle.pkcs.PKCS10CertificationRequestBuilder;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;
import org.bouncycastle.util.Store;

/**
 * java -cp JARS Est.java HOST PORT ROOT.pem NAME TOKEN: BouncyCastle's EST client, as its documentation has it used.
 *
 * <p>It fetches the CA's certificates, asks for CSR attributes, enrols with the token as its password, and renews with
 * a new key over mTLS, repeating subject and SAN (RFC 7030 4.2.2). Each step prints its name and the certificates that
 * it got, in PEM. Then it shows the token again, for another key. A refusal is one line: "refused STATUS: words".
 */
public final class Est {
    private static final char[] PASSWORD = "of the key store in memory".toCharArray();

    private final String server;
    private final Set<TrustAnchor> anchors;

    private Est(String server, X509Certificate root) {
        this.server = server;
        this.anchors = Set.of(new TrustAnchor(root, null));
    }

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        Est client = new Est(arguments[0] + ":" + arguments[1], read(Path.of(arguments[2])));
        ESTAuth password = new JcaHttpAuthBuilder(arguments[3], arguments[4].toCharArray()).build();
        ESTService stranger = client.service(null);

        print("cacerts", stranger.getCACerts().getCertificateStore());
        System.out.println("csrattrs " + stranger.getCSRAttributes().hasAttributesResponse());

        KeyPair first = newKey();
        X509CertificateHolder enrolled = client.enrol(stranger, false, request(new X500Name(""), null, first), password);
        if (enrolled == null) {
            return;
        }
        KeyPair second = newKey();
        Extension names = enrolled.getExtension(Extension.subjectAlternativeName);
        ESTService agent = client.service(keys(first, enrolled));
        client.enrol(agent, true, request(enrolled.getSubject(), names, second), null);

        client.enrol(stranger, false, request(new X500Name(""), null, newKey()), password);
    }

    private X509CertificateHolder enrol(
            ESTService service, boolean again, PKCS10CertificationRequest request, ESTAuth password)
            throws IOException {
        try {
            EnrollmentResponse answer = service.simpleEnroll(again, request, password);
            print(again ? "simplereenroll" : "simpleenroll", answer.getStore());
            return answer.getStore().getMatches(null).iterator().next();
        } catch (ESTException refusal) {
            byte[] words = refusal.getBody() == null ? new byte[0] : refusal.getBody().readAllBytes();
            System.out.println(
                    "refused " + refusal.getStatusCode() + ": " + new String(words, StandardCharsets.UTF_8).strip());
            return null;
        }
    }

    private ESTService service(KeyManagerFactory keys) {
        JsseESTServiceBuilder builder =
                new JsseESTServiceBuilder(server, JcaJceUtils.getCertPathTrustManager(anchors, null));
        return (keys == null ? builder : builder.withKeyManagers(keys.getKeyManagers())).build();
    }

    private static PKCS10CertificationRequest request(X500Name subject, Extension names, KeyPair pair)
            throws OperatorCreationException {
        PKCS10CertificationRequestBuilder builder =
                new JcaPKCS10CertificationRequestBuilder(subject, pair.getPublic());
        if (names != null) {
            builder.addAttribute(PKCSObjectIdentifiers.pkcs_9_at_extensionRequest, new Extensions(names));
        }
        ContentSigner signer = new JcaContentSignerBuilder("SHA256withECDSA").build(pair.getPrivate());
        return builder.build(signer);
    }

    private static KeyManagerFactory keys(KeyPair pair, X509CertificateHolder holder)
            throws GeneralSecurityException, IOException {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        Certificate certificate = new JcaX509CertificateConverter().getCertificate(holder);
        store.setKeyEntry("agent", pair.getPrivate(), PASSWORD, new Certificate[] {certificate});
        return JcaJceUtils.createKeyManagerFactory("PKIX", null, store, PASSWORD);
    }

    private static KeyPair newKey() throws GeneralSecurityException {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
        generator.initialize(new ECGenParameterSpec("secp256r1"));
        return generator.generateKeyPair();
    }

    private static X509Certificate read(Path file) throws GeneralSecurityException, IOException {
        try (var stream = Files.newInputStream(file)) {
            return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(stream);
        }
    }

    private static void print(String step, Store<X509CertificateHolder> certificates) throws IOException {
        StringWriter text = new StringWriter();
        try (JcaPEMWriter pem = new JcaPEMWriter(text)) {
            for (X509CertificateHolder each : certificates.getMatches(null)) {
                pem.writeObject(each);
            }
        }
        System.out.println(step);
        System.out.print(text.toString().replace("\r", ""));
    }
}
