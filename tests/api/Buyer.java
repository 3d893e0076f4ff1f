import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** Buys with the JDK's client as it comes: it asks for HTTP/2 with every first request. */
class Buyer {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        URI purchases = URI.create(arguments[0] + "/purchases");
        for (int number = 0; number < 3; number++) {
            HttpRequest request = HttpRequest.newBuilder(purchases)
                    .header("Content-Type", "application/json")
                    .POST(HttpRequest.BodyPublishers.ofString("{\"product_id\":\"lamp\"}"))
                    .build();
            HttpResponse<String> response =
                    client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.version());
        }
    }
}
